#include "coordinator/commands.h"
#include "hanse/clock.h"
#include "hanse/config.h"
#include "hanse/digest.h"
#include "hanse/identity.h"
#include "hanse/invitation.h"

#include <stdio.h>

#define CA_YEARS 20
#define CERT_DAYS 1825
#define CRL_DAYS 365
#define DAY_S ((int64_t)86400)
#define COORDINATOR_SITE "coordinator" /* its name beside those of sites */

static int64_t now_s(void)
{
    return (int64_t)(hanse_clock_wall_ms() / 1000);
}

static hanse_rc write_in(const char *dir, const char *file, const hanse_buf *content, unsigned mode, hanse_err *err)
{
    hanse_path path;
    hanse_rc rc = hanse_path_join(path, dir, file, err);

    return rc == HANSE_OK ? hanse_file_write(path, hanse_buf_bytes(content), mode, err) : rc;
}

static hanse_rc write_key(const char *dir, const char *file, const hanse_key *key, hanse_err *err)
{
    hanse_buf pem = HANSE_BUF_EMPTY;
    hanse_rc rc = hanse_key_to_pem(key, &pem, err);

    if (rc == HANSE_OK)
        rc = write_in(dir, file, &pem, HANSE_MODE_SECRET, err);
    hanse_buf_wipe(&pem);
    return rc;
}

static hanse_rc write_cert(const char *dir, const char *file, const hanse_cert *cert, hanse_err *err)
{
    hanse_buf pem = HANSE_BUF_EMPTY;
    hanse_rc rc = hanse_cert_to_pem(cert, &pem, err);

    if (rc == HANSE_OK)
        rc = write_in(dir, file, &pem, HANSE_MODE_PUBLIC, err);
    hanse_buf_clear(&pem);
    return rc;
}

/* Key and certificate of the coordinator itself, for one of its two profiles. */
static hanse_rc make_identity(const char *dir, hanse_key_kind kind, const char *key_file, const char *cert_file, const hanse_issue *issue,
                              const hanse_cert *ca, const hanse_key *ca_key, hanse_err *err)
{
    hanse_key *key = NULL;
    hanse_cert *cert = NULL;
    hanse_buf csr = HANSE_BUF_EMPTY;
    hanse_rc rc = hanse_key_new(&key, kind, err);

    if (rc == HANSE_OK)
        rc = hanse_csr_new(key, &csr, err);
    if (rc == HANSE_OK)
        rc = hanse_cert_issue(&cert, ca, ca_key, hanse_buf_bytes(&csr), issue, err);
    if (rc == HANSE_OK)
        rc = write_key(dir, key_file, key, err);
    if (rc == HANSE_OK)
        rc = write_cert(dir, cert_file, cert, err);
    hanse_buf_clear(&csr);
    hanse_cert_free(cert);
    hanse_key_free(key);
    return rc;
}

static hanse_rc write_crl(const char *dir, const hanse_cert *ca, const hanse_key *ca_key, const hanse_crl *previous,
                          const uint8_t (*serials)[HANSE_SERIAL_LEN], size_t count, hanse_err *err)
{
    hanse_crl *crl = NULL;
    hanse_buf pem = HANSE_BUF_EMPTY;
    int64_t now = now_s();
    hanse_rc rc = hanse_crl_new(&crl, ca, ca_key, previous, serials, count, now, now + CRL_DAYS * DAY_S, err);

    if (rc == HANSE_OK)
        rc = hanse_crl_to_pem(crl, &pem, err);
    if (rc == HANSE_OK && pem.len > HANSE_CRL_PEM_MAX)
        rc = HANSE_FAIL(err, HANSE_E_FULL, "the revocation list has %zu bytes, sites take %d: start a new consortium", pem.len, HANSE_CRL_PEM_MAX);
    if (rc == HANSE_OK)
        rc = write_in(dir, HANSE_CRL_FILE, &pem, HANSE_MODE_PUBLIC, err);
    hanse_buf_clear(&pem);
    hanse_crl_free(crl);
    return rc;
}

/* ---- init ---- */

/* Everything but what marks the directory as complete. */
static hanse_rc make_authority(const char *dir, const hanse_coordinator_config *config, hanse_cert **ca, hanse_err *err)
{
    const char *hosts[2] = {config->host, config->listen_host};
    bool wildcard = strcmp(config->listen_host, "0.0.0.0") == 0 || strcmp(config->listen_host, "::") == 0;
    hanse_issue issue = {.profile = HANSE_PROFILE_COORDINATOR_TLS, .organisation = config->name, .site = COORDINATOR_SITE,
                         .hosts = hosts, .hosts_count = wildcard || strcmp(hosts[0], hosts[1]) == 0 ? 1 : 2, .now = now_s(), .days = CERT_DAYS};
    hanse_key *key = NULL;
    hanse_rc rc = hanse_ca_new(&key, ca, config->name, issue.now, CA_YEARS, err);

    if (rc == HANSE_OK)
        rc = write_key(dir, HANSE_CA_KEY_FILE, key, err);
    if (rc == HANSE_OK)
        rc = make_identity(dir, HANSE_KEY_P256, HANSE_TLS_KEY_FILE, HANSE_TLS_CERT_FILE, &issue, *ca, key, err);
    issue.profile = HANSE_PROFILE_COORDINATOR_SIGN;
    issue.hosts_count = 0;
    issue.hosts = NULL;
    if (rc == HANSE_OK)
        rc = make_identity(dir, HANSE_KEY_ED25519, HANSE_SIGN_KEY_FILE, HANSE_SIGN_CERT_FILE, &issue, *ca, key, err);
    if (rc == HANSE_OK)
        rc = write_crl(dir, *ca, key, NULL, NULL, 0, err);
    hanse_key_free(key);
    return rc;
}

/* Parse the configuration that will be written, so that what init writes is what serve takes. */
static hanse_rc init_config(hanse_cli *cli, hanse_buf *text, hanse_coordinator_config *config, hanse_err *err)
{
    const char *name = hanse_cli_value(cli, "name"), *address = hanse_cli_value(cli, "address"), *listen = hanse_cli_value(cli, "listen");
    char host[HANSE_HOST_MAX + 1], every[32];
    uint16_t port = 0;
    hanse_rc rc;

    if (name == NULL || address == NULL)
        return HANSE_FAIL(err, HANSE_E_INVALID, "init needs --name NAME and --address HOST:PORT");
    if (!hanse_name_is_valid(name))
        return HANSE_FAIL(err, HANSE_E_INVALID, "--name: 1 to %d letters, digits, blanks and . _ -, a letter or digit first", HANSE_NAME_MAX);
    rc = hanse_coordinator_address_split(address, host, &port, err);
    if (rc != HANSE_OK) {
        hanse_err_wrap(err, "--address");
        return rc;
    }
    snprintf(every, sizeof every, strchr(host, ':') != NULL ? "[::]:%u" : "0.0.0.0:%u", port);
    if (listen != NULL && (rc = hanse_coordinator_address_split(listen, host, &port, err)) != HANSE_OK) {
        hanse_err_wrap(err, "--listen");
        return rc;
    }
    rc = hanse_coordinator_config_template(text, name, address, listen == NULL ? every : listen, err);
    return rc == HANSE_OK ? hanse_coordinator_config_parse(config, hanse_buf_bytes(text), HANSE_COORDINATOR_FILE, err) : rc;
}

static hanse_rc make_directories(const char *dir, hanse_err *err)
{
    static const char *const names[] = {"ca", "identity", "models", "runs", HANSE_SPOOL_DIR};
    hanse_rc rc = hanse_dir_make(dir, HANSE_MODE_DIR, err);

    for (size_t i = 0; rc == HANSE_OK && i < sizeof names / sizeof names[0]; i++) {
        hanse_path path;

        rc = hanse_path_join(path, dir, names[i], err);
        if (rc == HANSE_OK)
            rc = hanse_dir_make(path, HANSE_MODE_DIR, err);
    }
    return rc;
}

static hanse_rc ca_fingerprint(const hanse_cert *ca, uint8_t out[32], hanse_err *err)
{
    hanse_buf der = HANSE_BUF_EMPTY;
    hanse_rc rc = hanse_cert_to_der(ca, &der, err);

    if (rc == HANSE_OK)
        rc = hanse_sha256(out, hanse_buf_bytes(&der), err);
    hanse_buf_clear(&der);
    return rc;
}

hanse_rc hanse_command_init(hanse_cli *cli, hanse_err *err)
{
    static const char *const marks[] = {HANSE_COORDINATOR_FILE, HANSE_CA_CERT_FILE};
    hanse_coordinator_config config;
    hanse_buf text = HANSE_BUF_EMPTY;
    hanse_cert *ca = NULL;
    hanse_store *store = NULL;
    uint8_t fingerprint[32];
    char hex[65];
    int lock = -1;
    hanse_rc rc = init_config(cli, &text, &config, err);

    if (rc == HANSE_OK)
        rc = make_directories(cli->dir, err);
    if (rc == HANSE_OK)
        rc = hanse_lock_try(&lock, cli->dir, err);
    for (size_t i = 0; rc == HANSE_OK && i < sizeof marks / sizeof marks[0]; i++) {
        hanse_path path;

        rc = hanse_path_join(path, cli->dir, marks[i], err);
        if (rc == HANSE_OK && hanse_file_exists(path))
            rc = HANSE_FAIL(err, HANSE_E_INVALID, "%s exists: this is a coordinator's directory already; choose another", path);
    }
    if (rc == HANSE_OK)
        rc = make_authority(cli->dir, &config, &ca, err);
    if (rc == HANSE_OK)
        rc = hanse_store_open(&store, cli->dir, true, err);
    /* These two come last: until they are there, a failed init can be repeated. */
    if (rc == HANSE_OK)
        rc = write_cert(cli->dir, HANSE_CA_CERT_FILE, ca, err);
    if (rc == HANSE_OK)
        rc = write_in(cli->dir, HANSE_COORDINATOR_FILE, &text, HANSE_MODE_PUBLIC, err);
    if (rc == HANSE_OK)
        rc = ca_fingerprint(ca, fingerprint, err);
    if (rc == HANSE_OK) {
        hanse_hex_encode(hex, fingerprint, 32);
        hanse_cli_print(cli, "consortium %s is ready in %s\ncertificate authority (SHA-256): %s\n", config.name, cli->dir, hex);
        cli->data = json_pack("{s:s, s:s, s:s}", "name", config.name, "address", config.address, "ca_sha256", hex);
    }
    hanse_store_close(store);
    hanse_lock_release(&lock);
    hanse_cert_free(ca);
    hanse_buf_clear(&text);
    return rc;
}

/* ---- invite, sites ---- */
static hanse_rc check_names(const char *organisation, const char *site, hanse_err *err)
{
    char uri[HANSE_URI_MAX];
    hanse_rc rc = hanse_uri_make(uri, organisation, site, err);

    if (rc == HANSE_OK && strlen(uri) > HANSE_STORE_URI_MAX)
        rc = HANSE_FAIL(err, HANSE_E_INVALID, "the names %s and %s are too long together: blanks count three times", organisation, site);
    if (rc == HANSE_OK && strcmp(site, COORDINATOR_SITE) == 0)
        rc = HANSE_FAIL(err, HANSE_E_INVALID, "\"%s\" is the coordinator's own name; choose another for the site", site);
    return rc;
}

static hanse_rc write_invitation(hanse_cli *cli, const hanse_invitation *invitation, uint64_t expires_ms, hanse_err *err)
{
    const char *output = hanse_cli_value(cli, "output");
    char until[HANSE_TIME_LEN];
    hanse_buf text = HANSE_BUF_EMPTY;
    hanse_rc rc = hanse_invitation_encode(&text, invitation, err);

    hanse_clock_format_ms(until, expires_ms);
    if (rc == HANSE_OK)
        rc = hanse_buf_printf(&text, err, "# Expires %s\n", until);
    if (rc == HANSE_OK && output != NULL)
        rc = hanse_file_write(output, hanse_buf_bytes(&text), HANSE_MODE_SECRET, err);
    if (rc == HANSE_OK && output != NULL)
        hanse_cli_print(cli, "invitation of %s, good until %s: %s\n", invitation->site, until, output);
    else if (rc == HANSE_OK)
        hanse_cli_print(cli, "%s", (const char *)text.data);
    if (rc == HANSE_OK)
        cli->data = json_pack("{s:s, s:s, s:s, s:s}", "site", invitation->site, "organisation", invitation->organisation, "expires", until,
                              output != NULL ? "file" : "invitation", output != NULL ? output : (const char *)text.data);
    hanse_buf_wipe(&text);
    return rc;
}

hanse_rc hanse_command_invite(hanse_cli *cli, hanse_err *err)
{
    const char *organisation = hanse_cli_value(cli, "organisation"), *expires = hanse_cli_value(cli, "expires"), *site = cli->args[0];
    hanse_coordinator_config config;
    hanse_invitation invitation = {0};
    hanse_store_invitation row = {0};
    hanse_cert *ca = NULL;
    hanse_store *store = NULL;
    uint64_t now_ms = hanse_clock_wall_ms(), life_ms = 0;
    hanse_rc rc = hanse_coordinator_config_load(&config, cli->dir, err);

    organisation = organisation == NULL ? site : organisation;
    if (rc == HANSE_OK)
        rc = check_names(organisation, site, err);
    if (rc == HANSE_OK)
        rc = hanse_parse_duration(expires == NULL ? "7d" : expires, &life_ms, "--expires", err);
    if (rc == HANSE_OK && (life_ms < 60000 || life_ms > (uint64_t)365 * 86400000))
        rc = HANSE_FAIL(err, HANSE_E_INVALID, "--expires: 1m to 365d");
    if (rc == HANSE_OK)
        rc = hanse_command_cert(cli->dir, HANSE_CA_CERT_FILE, &ca, err);
    if (rc == HANSE_OK)
        rc = ca_fingerprint(ca, invitation.ca_sha256, err);
    if (rc == HANSE_OK)
        rc = hanse_random(invitation.token, sizeof invitation.token, err);
    if (rc == HANSE_OK)
        rc = hanse_sha256(row.token_hash, (hanse_bytes){invitation.token, sizeof invitation.token}, err);
    if (rc == HANSE_OK)
        rc = hanse_store_open(&store, cli->dir, false, err);
    if (rc == HANSE_OK) {
        row.expires_ms = now_ms + life_ms;
        snprintf(row.site, sizeof row.site, "%s", site);
        snprintf(row.organisation, sizeof row.organisation, "%s", organisation);
        memcpy(invitation.site, row.site, sizeof row.site);
        memcpy(invitation.organisation, row.organisation, sizeof row.organisation);
        memcpy(invitation.consortium, config.name, sizeof config.name);
        snprintf(invitation.coordinator, sizeof invitation.coordinator, "%s", config.address);
        rc = hanse_store_invite(store, &row, now_ms, err);
    }
    if (rc == HANSE_OK)
        rc = write_invitation(cli, &invitation, row.expires_ms, err);
    hanse_wipe(&invitation, sizeof invitation);
    hanse_store_close(store);
    hanse_cert_free(ca);
    return rc;
}

hanse_rc hanse_command_sites(hanse_cli *cli, hanse_err *err)
{
    hanse_store *store = NULL;
    hanse_store_site *sites = NULL;
    size_t count = 0;
    hanse_rc rc = hanse_store_open(&store, cli->dir, false, err);

    if (rc == HANSE_OK)
        rc = hanse_store_sites(store, &sites, &count, err);
    cli->data = rc == HANSE_OK ? json_array() : NULL;
    if (rc == HANSE_OK && count > 0)
        hanse_cli_print(cli, "%-20s %-20s %-8s %-24s %-24s %s\n", "site", "organisation", "status", "enrolled", "seen", "key");
    for (size_t i = 0; i < count; i++) {
        const hanse_store_site *site = &sites[i];
        const char *status = site->status == HANSE_STORE_ACTIVE ? "active" : "revoked";
        char enrolled[HANSE_TIME_LEN], seen[HANSE_TIME_LEN] = "-", hex[65];

        hanse_clock_format_ms(enrolled, site->enrolled_ms);
        if (site->seen_ms != 0)
            hanse_clock_format_ms(seen, site->seen_ms);
        hanse_hex_encode(hex, site->site_id, 32);
        hanse_cli_print(cli, "%-20s %-20s %-8s %-24s %-24s %s\n", site->name, site->organisation, status, enrolled, seen, hex);
        json_array_append_new(cli->data, json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "site", site->name, "organisation",
                                                   site->organisation, "status", status, "uri", site->uri, "key", hex, "enrolled",
                                                   hanse_command_time(site->enrolled_ms), "seen", hanse_command_time(site->seen_ms)));
    }
    hanse_store_sites_free(sites, count);
    hanse_store_close(store);
    return rc;
}

/* ---- revoke ---- */

/* The next list holds all that the store knows as revoked: a crash between the two is made good by the next one. */
static hanse_rc renew_crl(const char *dir, hanse_store *store, const hanse_key *ca_key, hanse_err *err)
{
    hanse_store_serial *texts = NULL;
    uint64_t *times = NULL;
    uint8_t (*serials)[HANSE_SERIAL_LEN] = NULL;
    size_t count = 0;
    hanse_cert *ca = NULL;
    hanse_crl *previous = NULL;
    hanse_buf pem = HANSE_BUF_EMPTY;
    hanse_path path;
    hanse_rc rc = hanse_command_cert(dir, HANSE_CA_CERT_FILE, &ca, err);

    if (rc == HANSE_OK)
        rc = hanse_path_join(path, dir, HANSE_CRL_FILE, err);
    if (rc == HANSE_OK)
        rc = hanse_file_read(&pem, path, HANSE_CRL_PEM_MAX, err);
    if (rc == HANSE_OK)
        rc = hanse_crl_from_pem(&previous, hanse_buf_bytes(&pem), err);
    if (rc == HANSE_OK)
        rc = hanse_store_revoked(store, &texts, &times, &count, err);
    if (rc == HANSE_OK && (serials = hanse_calloc(count + 1, sizeof *serials)) == NULL)
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "out of memory making the revocation list");
    for (size_t i = 0; rc == HANSE_OK && i < count; i++)
        rc = hanse_hex_decode(serials[i], HANSE_SERIAL_LEN, texts[i], err);
    if (rc == HANSE_OK)
        rc = write_crl(dir, ca, ca_key, previous, (const uint8_t (*)[HANSE_SERIAL_LEN])serials, count, err);
    hanse_free(serials);
    hanse_free(texts);
    hanse_free(times);
    hanse_crl_free(previous);
    hanse_buf_clear(&pem);
    hanse_cert_free(ca);
    return rc;
}

hanse_rc hanse_command_revoke(hanse_cli *cli, hanse_err *err)
{
    const char *site = cli->args_count > 0 ? cli->args[0] : NULL;
    hanse_store *store = NULL;
    hanse_key *ca_key = NULL;
    hanse_path ca_dir;
    uint64_t now_ms = hanse_clock_wall_ms();
    int lock = -1;
    hanse_rc rc = hanse_store_open(&store, cli->dir, false, err);

    if (rc == HANSE_OK)
        rc = hanse_path_join(ca_dir, cli->dir, "ca", err);
    if (rc == HANSE_OK) /* two lists of one number must not exist */
        rc = hanse_lock_try(&lock, ca_dir, err);
    if (rc == HANSE_OK)
        rc = hanse_command_key(cli->dir, HANSE_CA_KEY_FILE, &ca_key, err);
    if (rc == HANSE_E_NOTFOUND)
        rc = HANSE_FAIL(err, rc, "%s/%s is not here: the CA's key was moved offline; bring it back, repeat this, and take it away again",
                        cli->dir, HANSE_CA_KEY_FILE);
    if (rc == HANSE_OK && site != NULL)
        rc = hanse_store_site_revoke(store, site, now_ms, err);
    if (rc == HANSE_OK)
        rc = renew_crl(cli->dir, store, ca_key, err);
    if (rc == HANSE_OK)
        rc = hanse_store_event_add(store, NULL, now_ms, err, site != NULL ? "revoked site=%s" : "revocation list renewed%s", site != NULL ? site : "");
    if (rc == HANSE_OK) {
        hanse_command_wake(cli);
        if (site != NULL)
            hanse_cli_print(cli, "site %s is revoked\n", site);
        else
            hanse_cli_print(cli, "the revocation list is good for %d days\n", CRL_DAYS);
        cli->data = json_pack("{s:s?}", "revoked", site);
    }
    hanse_key_free(ca_key);
    hanse_lock_release(&lock);
    hanse_store_close(store);
    return rc;
}
