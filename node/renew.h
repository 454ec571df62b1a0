/* renew.h - certificates of a running site. The keys stay: site id and roster do, too. */
#ifndef HANSE_NODE_RENEW_H
#define HANSE_NODE_RENEW_H

#include "node/agent.h"

/* Once a minute DIR/metrics.prom; after the first WELCOME and then once a day: warns of what expires within 30 days, and asks for new certificates when a third of
 * their life is left (or renew_days of node.yaml). */
HANSE_MUST_CHECK hanse_rc hanse_agent_renew_tick(hanse_agent *agent, uint64_t now_ms, hanse_err *err);
/* The answer: checked against the CA, the list and our keys, kept in DIR, used from the next connection on. Errors: PROTOCOL, IDENTITY, IO. */
HANSE_MUST_CHECK hanse_rc hanse_agent_on_renewed(hanse_agent *agent, const hanse_msg_renewed *message, hanse_err *err);

#endif
