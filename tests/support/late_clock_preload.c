/* late_clock_preload.c - LD_PRELOAD: the wall clock is $LATE_CLOCK_DAYS ahead, and as many seconds more as stand in the file
 * $LATE_CLOCK_FILE, which may change meanwhile. The monotonic clock, and sleeps, are what they are: who sleeps must be woken. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

static time_t seconds_in(const char *path)
{
    char text[32] = "";
    const int saved = errno, fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd >= 0) {
        if (read(fd, text, sizeof text - 1) < 0)
            text[0] = '\0';
        (void)close(fd);
    }
    errno = saved;
    return (time_t)atol(text);
}

static time_t ahead_s(void)
{
    const char *days = getenv("LATE_CLOCK_DAYS"), *file = getenv("LATE_CLOCK_FILE");

    return (days != NULL ? (time_t)atol(days) * 86400 : 0) + (file != NULL ? seconds_in(file) : 0);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    const int problem = REAL(int, "clock_gettime", clockid_t, struct timespec *)(clock, now);

    if (problem == 0 && clock == CLOCK_REALTIME)
        now->tv_sec += ahead_s();
    return problem;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    const int problem = REAL(int, "gettimeofday", struct timeval *, void *)(now, zone);

    if (problem == 0)
        now->tv_sec += ahead_s();
    return problem;
}

time_t time(time_t *out)
{
    const time_t now = REAL(time_t, "time", time_t *)(NULL) + ahead_s();

    if (out != NULL)
        *out = now;
    return now;
}
