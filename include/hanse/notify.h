/* notify.h - tell the service manager how a service is: systemd's protocol, one datagram to $NOTIFY_SOCKET (sd_notify(3)).
 *
 * Without that variable nothing happens. A message that cannot be sent is dropped: the service does not depend on its manager. */
#ifndef HANSE_NOTIFY_H
#define HANSE_NOTIFY_H

#include <stdint.h>

#define HANSE_NOTIFY_READY "READY=1"
#define HANSE_NOTIFY_STOPPING "STOPPING=1"

/* Send `state`: one of the above, or "STATUS=..." in one line. */
void hanse_notify(const char *state);
/* From a loop that goes on: WATCHDOG=1 as often as the manager wants it (twice in $WATCHDOG_USEC, when it is for this process).
 * The time until the next one is due [ms]; UINT64_MAX without a watchdog. */
uint64_t hanse_notify_alive(uint64_t now_mono_us);

#endif
