#include "hanse/notify.h"

#include "hanse/config.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void hanse_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = path != NULL ? strlen(path) : 0;
    int fd;

    if (len < 2 || len >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(address.sun_path, path, len);
    if (path[0] == '@')
        address.sun_path[0] = '\0'; /* a name without a file */
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    (void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
    (void)close(fd);
}

/* The manager's patience [us]; 0: no watchdog, or it is for another process. */
static uint64_t patience_us(void)
{
    const char *patience = getenv("WATCHDOG_USEC"), *whose = getenv("WATCHDOG_PID");
    uint64_t us, pid;

    if (patience == NULL || hanse_parse_uint(patience, 1, UINT64_MAX, &us, "WATCHDOG_USEC", NULL) != HANSE_OK)
        return 0;
    if (whose != NULL && (hanse_parse_uint(whose, 1, UINT32_MAX, &pid, "WATCHDOG_PID", NULL) != HANSE_OK || pid != (uint64_t)getpid()))
        return 0;
    return us;
}

uint64_t hanse_notify_alive(uint64_t now_mono_us)
{
    static uint64_t next_us;
    uint64_t every_us = patience_us() / 2;

    if (every_us == 0)
        return UINT64_MAX;
    if (now_mono_us >= next_us) {
        hanse_notify("WATCHDOG=1");
        next_us = now_mono_us + every_us;
    }
    return (next_us - now_mono_us) / 1000 + 1;
}
