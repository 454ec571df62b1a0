/* commands.h - the commands of hanse-coordinator and what they share. docs/operate.md, hanse-coordinator(1). */
#ifndef HANSE_COORDINATOR_COMMANDS_H
#define HANSE_COORDINATOR_COMMANDS_H

#include "coordinator/config.h"
#include "coordinator/store/store.h"
#include "hanse/cli.h"

struct evp_pkey_st;
struct x509_st;

extern const hanse_cli_program hanse_coordinator_program;

/* One function a command; each reads its arguments from `cli` and leaves its JSON in cli->data. */
hanse_rc hanse_command_init(hanse_cli *cli, hanse_err *err);
hanse_rc hanse_command_invite(hanse_cli *cli, hanse_err *err);
hanse_rc hanse_command_sites(hanse_cli *cli, hanse_err *err);
hanse_rc hanse_command_revoke(hanse_cli *cli, hanse_err *err);
hanse_rc hanse_command_submit(hanse_cli *cli, hanse_err *err);
hanse_rc hanse_command_list(hanse_cli *cli, hanse_err *err);
hanse_rc hanse_command_show(hanse_cli *cli, hanse_err *err);
hanse_rc hanse_command_log(hanse_cli *cli, hanse_err *err);
hanse_rc hanse_command_stop(hanse_cli *cli, hanse_err *err);
hanse_rc hanse_command_export(hanse_cli *cli, hanse_err *err);
hanse_rc hanse_command_serve(hanse_cli *cli, hanse_err *err);
hanse_rc hanse_command_backup(hanse_cli *cli, hanse_err *err);
hanse_rc hanse_command_restore(hanse_cli *cli, hanse_err *err);
hanse_rc hanse_command_round(hanse_cli *cli, hanse_err *err);

/* Open the store and find the run that the first argument names. `store` to be closed by the caller, on errors too. */
HANSE_MUST_CHECK hanse_rc hanse_command_run(const hanse_cli *cli, hanse_store **store, hanse_store_run *run, hanse_err *err);
/* A key or certificate of the directory, from PEM. Errors: NOTFOUND, INVALID, IO, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_command_key(const char *dir, const char *file, struct evp_pkey_st **out, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_command_cert(const char *dir, const char *file, struct x509_st **out, hanse_err *err);
/* Wake the service if it runs; one that does not answer is no failure of the command: it looks at the store by itself later. */
void hanse_command_wake(const hanse_cli *cli);
/* Lower-case hex as a JSON string. */
json_t *hanse_command_hex(const uint8_t *data, size_t len);
/* ISO 8601, or null for 0. */
json_t *hanse_command_time(uint64_t wall_ms);

#endif
