/* enrol: the private keys are made here and stay here; the coordinator's CA is pinned by the invitation's fingerprint. */
#include "node/commands.h"

#include "hanse/clock.h"
#include "hanse/digest.h"
#include "hanse/invitation.h"

#include <inttypes.h>

#define ENROL_TIMEOUT_US ((uint64_t)20 * 1000000)

typedef struct enrolment {
    const char *dir;
    const hanse_invitation *invitation;
    hanse_key *tls, *sign;
    hanse_link *link;
    bool done;
} enrolment;

/* The key of an earlier try that broke off, or a fresh one. */
static hanse_rc own_key(hanse_key **out, const char *dir, const char *name, hanse_key_kind kind, hanse_err *err)
{
    hanse_buf pem = HANSE_BUF_EMPTY;
    hanse_path path;
    hanse_rc rc = hanse_path_join(path, dir, name, err);

    if (rc != HANSE_OK)
        return rc;
    rc = hanse_file_read(&pem, path, HANSE_CERT_PEM_MAX, err);
    if (rc == HANSE_OK) {
        rc = hanse_key_from_pem(out, hanse_buf_bytes(&pem), err);
    } else if (rc == HANSE_E_NOTFOUND) {
        rc = hanse_key_new(out, kind, err);
        if (rc == HANSE_OK)
            rc = hanse_key_to_pem(*out, &pem, err);
        if (rc == HANSE_OK)
            rc = hanse_file_write(path, hanse_buf_bytes(&pem), HANSE_MODE_SECRET, err);
    }
    if (rc != HANSE_OK)
        hanse_err_wrap(err, "%s", path);
    hanse_buf_wipe(&pem);
    return rc;
}

static hanse_rc put(const char *dir, const char *name, hanse_bytes content, hanse_err *err)
{
    hanse_path path;
    hanse_rc rc = hanse_path_join(path, dir, name, err);

    return rc == HANSE_OK ? hanse_file_write(path, content, HANSE_MODE_PUBLIC, err) : rc;
}

static hanse_rc take(enrolment *state, const hanse_msg_enrolled *message, hanse_err *err)
{
    hanse_cert *ca = NULL, *tls = NULL, *sign = NULL, *coordinator = NULL;
    hanse_buf ca_pem = HANSE_BUF_EMPTY;
    hanse_trust trust = {.enrolling = true};
    hanse_rc rc = hanse_link_ca_pem(state->link, &ca_pem, err);

    if (rc == HANSE_OK)
        rc = hanse_cert_from_pem(&ca, hanse_buf_bytes(&ca_pem), err);
    trust.ca = ca;
    if (rc == HANSE_OK)
        rc = hanse_node_cert_check(&tls, message->cert_tls, &trust, HANSE_PROFILE_SITE_TLS, state->tls, err);
    if (rc == HANSE_OK)
        rc = hanse_node_cert_check(&sign, message->cert_sign, &trust, HANSE_PROFILE_SITE_SIGN, state->sign, err);
    if (rc == HANSE_OK)
        rc = hanse_node_cert_check(&coordinator, message->coordinator_sign, &trust, HANSE_PROFILE_COORDINATOR_SIGN, NULL, err);
    if (rc == HANSE_OK)
        rc = hanse_cert_match(tls, sign, err);
    if (rc == HANSE_OK)
        rc = put(state->dir, HANSE_NODE_CA, hanse_buf_bytes(&ca_pem), err);
    if (rc == HANSE_OK)
        rc = put(state->dir, HANSE_NODE_COORDINATOR, message->coordinator_sign, err);
    if (rc == HANSE_OK)
        rc = put(state->dir, HANSE_NODE_SIGN_CERT, message->cert_sign, err);
    if (rc == HANSE_OK)
        rc = put(state->dir, HANSE_NODE_TLS_CERT, message->cert_tls, err);
    state->done = rc == HANSE_OK;
    hanse_cert_free(ca);
    hanse_cert_free(tls);
    hanse_cert_free(sign);
    hanse_cert_free(coordinator);
    hanse_buf_clear(&ca_pem);
    return rc;
}

static hanse_rc on_message(void *user, const hanse_message *message, hanse_err *err)
{
    char words[HANSE_REASON_MAX + 1];

    if (message->kind == HANSE_ENROLLED)
        return take(user, &message->enrolled, err);
    if (message->kind == HANSE_ERROR) {
        hanse_text_copy(words, sizeof words, message->error.reason);
        return HANSE_FAIL(err, HANSE_E_IDENTITY, "the coordinator says: %s", words);
    }
    return HANSE_FAIL(err, HANSE_E_PROTOCOL, "%s instead of ENROLLED", hanse_kind_name(message->kind));
}
static hanse_rc no_chunk(void *user, const hanse_msg_chunk *head, hanse_err *err)
{
    (void)user;
    (void)head;
    return HANSE_FAIL(err, HANSE_E_PROTOCOL, "CHUNK instead of ENROLLED");
}
static hanse_rc no_data(void *user, const hanse_msg_chunk *head, size_t offset, hanse_bytes piece, hanse_err *err)
{
    (void)offset;
    (void)piece;
    return no_chunk(user, head, err);
}
static const hanse_inbox_ops ops = {on_message, no_chunk, no_data, no_chunk};

static hanse_rc exchange(enrolment *state, hanse_err *err)
{
    hanse_buf csr_tls = HANSE_BUF_EMPTY, csr_sign = HANSE_BUF_EMPTY;
    hanse_message message = {.kind = HANSE_ENROL, .enrol = {.protocol = HANSE_PROTOCOL}};
    char host[256];
    hanse_link_config config = {.host = host, .ca_pin = state->invitation->ca_sha256, .wake_fd = -1, .ops = &ops, .user = state};
    const uint64_t until_us = hanse_clock_mono_us() + ENROL_TIMEOUT_US;
    hanse_rc rc = hanse_node_address_split(state->invitation->coordinator, host, sizeof host, &config.port, err);

    if (state->invitation->server_name[0] != '\0')
        config.server_name = state->invitation->server_name;
    if (rc == HANSE_OK)
        rc = hanse_csr_new(state->tls, &csr_tls, err);
    if (rc == HANSE_OK)
        rc = hanse_csr_new(state->sign, &csr_sign, err);
    if (rc == HANSE_OK)
        rc = hanse_link_open(&state->link, &config, err);
    if (rc != HANSE_OK)
        goto done;
    memcpy(message.enrol.token, state->invitation->token, 32);
    message.enrol.csr_tls = hanse_buf_bytes(&csr_tls);
    message.enrol.csr_sign = hanse_buf_bytes(&csr_sign);
    rc = hanse_link_send_message(state->link, &message, err);
    hanse_wipe(message.enrol.token, 32);
    while (rc == HANSE_OK && !state->done) {
        rc = hanse_link_step(state->link, 1000, -1, err);
        if (rc == HANSE_OK && !state->done && hanse_clock_mono_us() > until_us)
            rc = HANSE_FAIL(err, HANSE_E_LINK, "the coordinator did not answer; enrol again: the same keys are used");
    }
    if (state->done)
        rc = HANSE_OK; /* it may close right behind its answer */
done:
    hanse_link_close(state->link, 100);
    hanse_buf_clear(&csr_tls);
    hanse_buf_clear(&csr_sign);
    return rc;
}

static hanse_rc write_config(const char *dir, const hanse_invitation *invitation, hanse_err *err)
{
    hanse_buf text = HANSE_BUF_EMPTY;
    hanse_path path;
    hanse_rc rc = hanse_path_join(path, dir, HANSE_NODE_FILE, err);

    if (rc != HANSE_OK || hanse_file_exists(path))
        return rc; /* the operator's own words stay */
    rc = hanse_node_config_template(&text, invitation->coordinator, invitation->server_name[0] ? invitation->server_name : NULL,
                                    invitation->organisation, invitation->site, err);
    if (rc == HANSE_OK)
        rc = hanse_file_write(path, hanse_buf_bytes(&text), HANSE_MODE_PUBLIC, err);
    hanse_buf_clear(&text);
    return rc;
}

hanse_rc hanse_command_node_enrol(hanse_cli *cli, hanse_err *err)
{
    hanse_invitation invitation = {0};
    hanse_buf text = HANSE_BUF_EMPTY;
    enrolment state = {.dir = cli->dir, .invitation = &invitation};
    uint8_t id[32];
    char hex[65];
    hanse_rc rc = hanse_file_read(&text, cli->args[0], 16384, err);

    if (rc == HANSE_OK)
        rc = hanse_invitation_decode(&invitation, hanse_buf_bytes(&text), cli->args[0], err);
    hanse_buf_wipe(&text);
    if (rc == HANSE_OK)
        rc = hanse_dir_make(cli->dir, HANSE_MODE_DIR, err);
    if (rc == HANSE_OK)
        rc = own_key(&state.tls, cli->dir, HANSE_NODE_TLS_KEY, HANSE_KEY_P256, err);
    if (rc == HANSE_OK)
        rc = own_key(&state.sign, cli->dir, HANSE_NODE_SIGN_KEY, HANSE_KEY_ED25519, err);
    if (rc == HANSE_OK)
        rc = exchange(&state, err);
    if (rc == HANSE_OK)
        rc = write_config(cli->dir, &invitation, err);
    if (rc == HANSE_OK)
        rc = hanse_key_id(state.sign, id, err);
    if (rc == HANSE_OK) {
        hanse_hex_encode(hex, id, 32);
        hanse_cli_print(cli, "enrolled %s of %s in %s\nkey %s (tell it to the other sites over another channel)\nnext: add the data to %s/%s, then"
                             " hanse-node check --dir %s\n", invitation.site, invitation.organisation, invitation.consortium, hex, cli->dir,
                        HANSE_NODE_FILE, cli->dir);
        cli->data = json_pack("{s:s, s:s, s:s, s:s}", "consortium", invitation.consortium, "organisation", invitation.organisation, "site",
                              invitation.site, "key", hex);
    }
    hanse_key_free(state.tls);
    hanse_key_free(state.sign);
    hanse_wipe(&invitation, sizeof invitation);
    return rc;
}
