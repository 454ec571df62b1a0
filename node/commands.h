/* commands.h - the commands of hanse-node; docs/operate.md is their contract. */
#ifndef HANSE_NODE_COMMANDS_H
#define HANSE_NODE_COMMANDS_H

#include "hanse/cli.h"
#include "node/keys.h"

extern const hanse_cli_program hanse_node_program;

hanse_rc hanse_command_node_enrol(hanse_cli *cli, hanse_err *err);
hanse_rc hanse_command_node_check(hanse_cli *cli, hanse_err *err);
hanse_rc hanse_command_node_run(hanse_cli *cli, hanse_err *err);
hanse_rc hanse_command_node_show(hanse_cli *cli, hanse_err *err);
hanse_rc hanse_command_node_baseline(hanse_cli *cli, hanse_err *err);

/* The roster that DIR/rosters holds under `hash`, recomputed. `bytes` must outlive `out`; both owned by the caller. */
HANSE_MUST_CHECK hanse_rc hanse_node_roster_load(hanse_roster *out, hanse_buf *bytes, const char *dir, const uint8_t hash[32], hanse_err *err);
/* One line a site: organisation, name, fingerprint of the signing key; into `rows` (a JSON array) as well. */
void hanse_node_roster_print(hanse_cli *cli, const hanse_roster *roster, const uint8_t own[32], json_t *rows);
/* The plan that DIR/plans holds under `hash`, recomputed. Owned by the caller. */
HANSE_MUST_CHECK hanse_rc hanse_node_plan_load(hanse_plan **out, const char *dir, const uint8_t hash[32], hanse_err *err);
/* The run whose hex id begins with `prefix`, or the newest joined one when `prefix` is NULL. Errors: NOTFOUND, INVALID. */
HANSE_MUST_CHECK hanse_rc hanse_node_run_find(hanse_site_store *store, const char *prefix, hanse_site_run *run, hanse_err *err);

#endif
