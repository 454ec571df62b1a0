#include "node/data/input.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { BUFFER_LEN = 1 << 17, READ_LEN_MAX = 1 << 30 };

hanse_rc hanse_input_open(hanse_input *out, const char *path, hanse_err *err)
{
    struct stat st;
    gzFile gz;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not hang us before it is refused */

    if (fd < 0)
        return errno == ENOENT ? HANSE_FAIL(err, HANSE_E_NOTFOUND, "%s: no such file", path)
                               : HANSE_FAIL_ERRNO(err, "%s", path);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        (void)close(fd);
        return HANSE_FAIL(err, HANSE_E_INVALID, "%s: not a regular file", path);
    }
    gz = gzdopen(fd, "rb"); /* reads files that are not gzip as they are */
    if (gz == NULL) {
        (void)close(fd);
        return HANSE_FAIL(err, HANSE_E_NOMEM, "%s: out of memory", path);
    }
    (void)gzbuffer(gz, BUFFER_LEN);
    *out = (hanse_input){path, gz, HANSE_BYTES_EMPTY};
    return HANSE_OK;
}

hanse_input hanse_input_of(const char *path, hanse_bytes memory)
{
    return (hanse_input){path, NULL, memory};
}

static hanse_rc fail_gz(const hanse_input *input, hanse_err *err)
{
    int code = Z_OK;
    const char *text = gzerror(input->gz, &code);

    if (code == Z_ERRNO)
        return HANSE_FAIL_ERRNO(err, "%s", input->path);
    if (code == Z_MEM_ERROR)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "%s: out of memory", input->path);
    if (code == Z_BUF_ERROR)
        return HANSE_FAIL(err, HANSE_E_INVALID, "%s: the gzip file is cut off; copy it again", input->path);
    return HANSE_FAIL(err, HANSE_E_INVALID, "%s: the gzip file is damaged (%s); copy it again", input->path, text);
}

hanse_rc hanse_input_read(hanse_input *input, void *out, size_t len, size_t *got, hanse_err *err)
{
    int code = Z_OK, n;

    if (input->gz == NULL) {
        *got = len < input->memory.len ? len : input->memory.len;
        if (*got > 0)
            memcpy(out, input->memory.data, *got);
        input->memory = (hanse_bytes){*got > 0 ? input->memory.data + *got : NULL, input->memory.len - *got};
        return HANSE_OK;
    }
    if (len > READ_LEN_MAX)
        return HANSE_FAIL(err, HANSE_E_USAGE, "%s: read of %zu bytes at once", input->path, len);
    n = gzread(input->gz, out, (unsigned)len);
    if (n < 0)
        return fail_gz(input, err);
    (void)gzerror(input->gz, &code);
    if ((size_t)n < len && code == Z_BUF_ERROR) /* zlib's word for a stream without its end */
        return fail_gz(input, err);
    *got = (size_t)n;
    return HANSE_OK;
}

void hanse_input_close(hanse_input *input)
{
    if (input->gz != NULL)
        (void)gzclose(input->gz);
    *input = HANSE_INPUT_EMPTY;
}
