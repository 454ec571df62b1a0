/* Replays a fuzz corpus: every file of the folders named on the command line goes through the target once. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data;
    long len;

    if (file == NULL || fseek(file, 0, SEEK_END) != 0 || (len = ftell(file)) < 0) {
        fprintf(stderr, "%s: cannot read\n", path);
        exit(1);
    }
    rewind(file);
    data = malloc(len > 0 ? (size_t)len : 1); /* exactly as long as the input: a read past its end is caught */
    if (data == NULL || fread(data, 1, (size_t)len, file) != (size_t)len) {
        fprintf(stderr, "%s: cannot read\n", path);
        exit(1);
    }
    fclose(file);
    (void)LLVMFuzzerTestOneInput(data, (size_t)len);
    free(data);
    return 1;
}

int main(int argc, char **argv)
{
    int replayed = 0;

    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        struct dirent *entry;
        char path[4096];

        if (dir == NULL) {
            fprintf(stderr, "%s: no such corpus\n", argv[i]);
            return 1;
        }
        while ((entry = readdir(dir)) != NULL) {
            if (entry->d_name[0] == '.')
                continue;
            snprintf(path, sizeof path, "%s/%s", argv[i], entry->d_name);
            replayed += replay(path);
        }
        closedir(dir);
    }
    printf("%d inputs replayed\n", replayed);
    return replayed > 0 ? 0 : 1; /* an empty corpus proves nothing */
}
