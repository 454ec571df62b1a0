#include "coordinator/server/control.h"

#include "coordinator/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_S 10 /* the service's loop never blocks for longer */

void hanse_control_name(char out[64], int dir_fd)
{
    snprintf(out, 64, "/proc/self/fd/%d/%s", dir_fd, HANSE_CONTROL_FILE);
}

static hanse_rc ask(int fd, const char *dir, hanse_err *err)
{
    struct timeval limit = {.tv_sec = ANSWER_S};
    char answer[3];
    size_t have = 0;

    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0 || send(fd, "wake\n", 5, MSG_NOSIGNAL) != 5)
        return HANSE_FAIL_ERRNO(err, "cannot write to %s/%s", dir, HANSE_CONTROL_FILE);
    while (have < sizeof answer) {
        ssize_t got = recv(fd, answer + have, sizeof answer - have, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return HANSE_FAIL(err, HANSE_E_IO, "the service behind %s/%s does not answer; see its log", dir, HANSE_CONTROL_FILE);
        have += (size_t)got;
    }
    return memcmp(answer, "ok\n", 3) == 0 ? HANSE_OK
                                          : HANSE_FAIL(err, HANSE_E_IO, "%s/%s is not the service's", dir, HANSE_CONTROL_FILE);
}

hanse_rc hanse_control_wake(const char *dir, bool *running, hanse_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[64];
    hanse_rc rc = HANSE_OK;
    int fd = -1, dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (dir_fd < 0)
        return HANSE_FAIL_ERRNO(err, "cannot open %s", dir);
    *running = false;
    hanse_control_name(name, dir_fd);
    memcpy(address.sun_path, name, sizeof name);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        rc = HANSE_FAIL_ERRNO(err, "cannot make a socket");
    } else if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0) {
        *running = true;
        rc = ask(fd, dir, err);
    } else if (errno != ENOENT && errno != ECONNREFUSED) {
        rc = HANSE_FAIL_ERRNO(err, "cannot reach %s/%s", dir, HANSE_CONTROL_FILE);
    }
    if (fd >= 0)
        close(fd);
    close(dir_fd);
    return rc;
}
