/* control.h - how a command reaches the running service: the 0600 Unix socket DIR/control.sock.
 *
 * A request is a row in the store; the socket only says "look now". One line each way: "wake\n", "ok\n". */
#ifndef HANSE_COORDINATOR_CONTROL_H
#define HANSE_COORDINATOR_CONTROL_H

#include "hanse/error.h"

/* Address of the socket, whatever the length of DIR: sun_path holds 107 bytes only.
 *   dir_fd  the open directory; the name goes through /proc/self/fd
 *   out     for sockaddr_un.sun_path */
void hanse_control_name(char out[64], int dir_fd);

/* Wake the service. `running` is false, and the result OK, when nobody listens. Errors: IO (it does not answer). */
HANSE_MUST_CHECK hanse_rc hanse_control_wake(const char *dir, bool *running, hanse_err *err);

#endif
