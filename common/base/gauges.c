#include "hanse/gauges.h"

#include "hanse/file.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static double resident_bytes(void)
{
    unsigned long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (file == NULL)
        return 0;
    if (fscanf(file, "%lu %lu", &total, &resident) != 2)
        resident = 0;
    (void)fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static hanse_rc put(hanse_buf *text, const hanse_gauge *gauge, const char *before, hanse_err *err)
{
    hanse_rc rc = HANSE_OK;

    if (before == NULL || strcmp(before, gauge->name) != 0)
        rc = hanse_buf_printf(text, err, "# TYPE hanse_%s gauge\n", gauge->name);
    if (rc == HANSE_OK && gauge->file != NULL)
        return hanse_buf_printf(text, err, "hanse_%s{file=\"%s\"} %.17g\n", gauge->name, gauge->file, gauge->value);
    return rc == HANSE_OK ? hanse_buf_printf(text, err, "hanse_%s %.17g\n", gauge->name, gauge->value) : rc;
}

hanse_rc hanse_gauges_write(const char *dir, const hanse_gauge *gauges, size_t count, hanse_err *err)
{
    const hanse_gauge memory = {.name = "resident_bytes", .value = resident_bytes()};
    hanse_buf text = HANSE_BUF_EMPTY;
    hanse_path path;
    hanse_rc rc = hanse_path_join(path, dir, HANSE_GAUGES_FILE, err);

    for (size_t i = 0; rc == HANSE_OK && i < count; i++)
        rc = put(&text, &gauges[i], i > 0 ? gauges[i - 1].name : NULL, err);
    if (rc == HANSE_OK)
        rc = put(&text, &memory, NULL, err);
    if (rc == HANSE_OK)
        rc = hanse_file_write(path, hanse_buf_bytes(&text), HANSE_MODE_PUBLIC, err);
    hanse_buf_clear(&text);
    return rc;
}
