/* agent_masks.h - masked rounds at a site: the pure machine of hanse/secagg_site.h and its edges.
 *
 * What the machine wants stored is durable before its next action is done; when that fails, the machine is made anew from the store.
 * One object a run. A refusal of the protocol (E_...) never ends the connection: it is logged, and the round it concerns is declined. */
#ifndef HANSE_NODE_AGENT_MASKS_H
#define HANSE_NODE_AGENT_MASKS_H

#include "node/agent.h"

typedef struct hanse_agent_masks hanse_agent_masks; /* opaque */

bool hanse_agent_is_masked(const hanse_agent *agent); /* the run under way */
/* The accepting answer goes out: the machine of this run is ready (made if it is not), and states its epoch. */
HANSE_MUST_CHECK hanse_rc hanse_agent_masks_begin(hanse_agent *agent, hanse_err *err);
void hanse_agent_masks_free(hanse_agent *agent);
/* Messages; of another run than the one under way they are ignored. */
HANSE_MUST_CHECK hanse_rc hanse_agent_on_peers(hanse_agent *agent, const hanse_msg_peers *message, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_agent_on_masks(hanse_agent *agent, const hanse_msg_masks *message, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_agent_on_cut(hanse_agent *agent, const hanse_msg_cut *message, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_agent_on_ask_dead(hanse_agent *agent, const hanse_msg_ask_dead *message, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_agent_on_abort(hanse_agent *agent, const hanse_msg_abort *message, hanse_err *err);
/* The work on run.spec begins: may this site take part, and with which masks? Fills job->mask.
 * Errors: POLICY (below this site's floors), those of hanse/secagg.h. */
HANSE_MUST_CHECK hanse_rc hanse_agent_masks_take_part(hanse_agent *agent, hanse_node_job *job, hanse_err *err);
/* The job is done: its signed header, and the spec for its shape. */
HANSE_MUST_CHECK hanse_rc hanse_agent_masks_upload(hanse_agent *agent, const hanse_node_job *job, hanse_site_work *work, hanse_err *err);
/* A receipt for the slot: before anything else remembers it, so that no cut may leave this site out. */
HANSE_MUST_CHECK hanse_rc hanse_agent_masks_received(hanse_agent *agent, hanse_err *err);
/* Is the result's masking of the accepted plan, and later than the last? Errors: AUTH. */
HANSE_MUST_CHECK hanse_rc hanse_agent_masks_check(const hanse_agent *agent, const hanse_result *result, hanse_err *err);
/* The result is durable: what it makes useless is destroyed, and tickets are left for the next slots. */
HANSE_MUST_CHECK hanse_rc hanse_agent_masks_result(hanse_agent *agent, const hanse_result *result, hanse_err *err);
/* The run is over: the secrets of all its tickets are destroyed, in the database's log, too. */
HANSE_MUST_CHECK hanse_rc hanse_agent_masks_over(hanse_agent *agent, hanse_err *err);
/* The same of a run that this process did not work for; NULL: no run is over. And of epochs that nobody's tickets can be sealed to any more. */
HANSE_MUST_CHECK hanse_rc hanse_agent_masks_forget(hanse_agent *agent, const uint8_t over_run[16], hanse_err *err);
/* Leave tickets for the two slots above the newest known one. */
HANSE_MUST_CHECK hanse_rc hanse_agent_masks_leave(hanse_agent *agent, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_agent_masks_tick(hanse_agent *agent, uint64_t now_ms, hanse_err *err);

#endif
