#include "coordinator/config.h"

#include "hanse/config.h"
#include "hanse/file.h"

#include <unistd.h>

static const char *const levels[] = {"error", "warn", "info", "debug", NULL}; /* hanse_level */

static const hanse_config_field limit_fields[] = {
    {.key = "connections", .kind = HANSE_CONFIG_UINT, HANSE_CONFIG_AT(hanse_coordinator_config, limits.connections), .min = 1,
     .max = 100000, .value = "2048", .help = "at once, of all sites"},
    {.key = "connections_per_site", .kind = HANSE_CONFIG_UINT, HANSE_CONFIG_AT(hanse_coordinator_config, limits.connections_per_site),
     .min = 1, .max = 64, .value = "4", .help = "at once, of one site"},
    {.key = "connections_per_address", .kind = HANSE_CONFIG_UINT,
     HANSE_CONFIG_AT(hanse_coordinator_config, limits.connections_per_address), .min = 1, .max = 100000, .value = "256",
     .help = "at once, of one IPv4 address or IPv6 /64 network, those in the handshake included"},
    {.key = "connections_per_second", .kind = HANSE_CONFIG_UINT,
     HANSE_CONFIG_AT(hanse_coordinator_config, limits.connections_per_second), .min = 1, .max = 1000, .value = "50",
     .help = "new ones of one address, on average; connections_per_address may come at once"},
    {.key = "handshake_timeout", .kind = HANSE_CONFIG_DURATION, HANSE_CONFIG_AT(hanse_coordinator_config, limits.handshake_ms),
     .min = 1000, .max = 300000, .value = "10s", .help = "for TLS, websocket and the first message"},
    {.key = "spool", .kind = HANSE_CONFIG_SIZE, HANSE_CONFIG_AT(hanse_coordinator_config, limits.spool_bytes), .min = 1 << 20,
     .max = (uint64_t)1 << 50, .value = "64GiB", .help = "disk for the contributions of open rounds"},
    {.key = "spool_per_site", .kind = HANSE_CONFIG_SIZE, HANSE_CONFIG_AT(hanse_coordinator_config, limits.spool_bytes_per_site),
     .min = 1 << 20, .max = (uint64_t)1 << 50, .value = "16GiB", .help = "of it, for one site"},
    {.key = "messages_per_second", .kind = HANSE_CONFIG_UINT,
     HANSE_CONFIG_AT(hanse_coordinator_config, limits.messages_per_second), .min = 1, .max = 1000, .value = "200",
     .help = "of one connection, on average over ten seconds; pieces of contributions aside"},
    {.key = "workers", .kind = HANSE_CONFIG_UINT, HANSE_CONFIG_AT(hanse_coordinator_config, limits.workers), .max = 64,
     .value = "0", .help = "threads that open and sum contributions; 0: one a processor"},
    {.key = NULL}};

static const hanse_config_field log_fields[] = {
    {.key = "level", .kind = HANSE_CONFIG_ENUM, HANSE_CONFIG_AT(hanse_coordinator_config, level), .names = levels, .value = "info",
     .help = "least important events that are logged"},
    {.key = NULL}};

static const hanse_config_field fields[] = {
    {.key = "name", .kind = HANSE_CONFIG_NAME, .required = true, HANSE_CONFIG_AT(hanse_coordinator_config, name),
     .help = "of the consortium"},
    {.key = "address", .kind = HANSE_CONFIG_STRING, .required = true, HANSE_CONFIG_AT(hanse_coordinator_config, address),
     .help = "HOST:PORT that sites dial; HOST stands in the coordinator's certificate"},
    {.key = "listen", .kind = HANSE_CONFIG_STRING, .required = true, HANSE_CONFIG_AT(hanse_coordinator_config, listen),
     .help = "HOST:PORT that the service binds"},
    {.key = "limits", .kind = HANSE_CONFIG_MAP, .fields = limit_fields, .help = "what the service allows"},
    {.key = "log", .kind = HANSE_CONFIG_MAP, .fields = log_fields, .help = "logging"},
    {.key = NULL}};

hanse_rc hanse_coordinator_address_split(const char *address, char host[HANSE_HOST_MAX + 1], uint16_t *port, hanse_err *err)
{
    const char *colon = strrchr(address, ':'), *first = address;
    size_t len = colon != NULL ? (size_t)(colon - address) : 0;
    uint64_t number;
    hanse_rc rc;

    if (len > 2 && address[0] == '[' && address[len - 1] == ']') {
        first++;
        len -= 2;
    } else if (len > 0 && memchr(address, ':', len) != NULL) {
        len = 0; /* an IPv6 address needs its brackets */
    }
    if (len == 0 || len > HANSE_HOST_MAX)
        return HANSE_FAIL(err, HANSE_E_INVALID, "\"%s\" is not HOST:PORT or [IPv6]:PORT", address);
    for (size_t i = 0; i < len; i++) /* it goes into certificates and YAML */
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:%", first[i]) == NULL)
            return HANSE_FAIL(err, HANSE_E_INVALID, "\"%s\" is not HOST:PORT or [IPv6]:PORT", address);
    rc = hanse_parse_uint(colon + 1, 0, UINT16_MAX, &number, "port", err);
    if (rc != HANSE_OK)
        return rc;
    memcpy(host, first, len);
    host[len] = '\0';
    *port = (uint16_t)number;
    return HANSE_OK;
}

hanse_rc hanse_coordinator_config_parse(hanse_coordinator_config *out, hanse_bytes text, const char *origin, hanse_err *err)
{
    hanse_coordinator_config config = {0};
    hanse_config_where *where = NULL;
    hanse_err inner = {.rc = HANSE_OK};
    hanse_rc rc = hanse_config_parse(fields, &config, sizeof config, text, origin, &where, err);

    *out = (hanse_coordinator_config){0};
    if (rc != HANSE_OK)
        return rc;
    rc = hanse_coordinator_address_split(config.address, config.host, &config.port, &inner);
    if (rc == HANSE_OK && config.port == 0)
        rc = HANSE_FAIL(&inner, HANSE_E_INVALID, "sites cannot dial port 0");
    if (rc != HANSE_OK) {
        rc = HANSE_CONFIG_FAIL(where, err, "address", "%s", inner.text);
    } else if (hanse_coordinator_address_split(config.listen, config.listen_host, &config.listen_port, &inner) != HANSE_OK) {
        rc = HANSE_CONFIG_FAIL(where, err, "listen", "%s", inner.text);
    }
    if (config.limits.workers == 0) {
        long processors = sysconf(_SC_NPROCESSORS_ONLN);
        config.limits.workers = processors < 1 ? 1 : processors > 64 ? 64 : (uint64_t)processors;
    }
    if (rc == HANSE_OK)
        *out = config;
    hanse_config_where_free(where);
    return rc;
}

hanse_rc hanse_coordinator_config_load(hanse_coordinator_config *out, const char *dir, hanse_err *err)
{
    hanse_buf text = HANSE_BUF_EMPTY;
    hanse_path path;
    hanse_rc rc;

    *out = (hanse_coordinator_config){0};
    rc = hanse_path_join(path, dir, HANSE_COORDINATOR_FILE, err);
    if (rc == HANSE_OK)
        rc = hanse_file_read(&text, path, HANSE_CONFIG_TEXT_MAX, err);
    if (rc == HANSE_E_NOTFOUND)
        rc = HANSE_FAIL(err, rc, "%s: no such file; `hanse-coordinator init` makes a coordinator's directory", path);
    if (rc == HANSE_OK)
        rc = hanse_coordinator_config_parse(out, hanse_buf_bytes(&text), path, err);
    hanse_buf_clear(&text);
    return rc;
}

hanse_rc hanse_coordinator_config_template(hanse_buf *out, const char *name, const char *address, const char *listen, hanse_err *err)
{
    return hanse_buf_printf(out, err,
                            "# The coordinator of a consortium. A change takes effect when the service starts again.\n"
                            "name: \"%s\"\n"
                            "\n"
                            "# What sites dial, HOST:PORT or [IPv6]:PORT. HOST stands in the coordinator's certificate: keep it.\n"
                            "address: \"%s\"\n"
                            "# What the service binds; another one than `address` behind NAT or a proxy that passes TLS through.\n"
                            "listen: \"%s\"\n"
                            "\n"
                            "limits:\n"
                            "  connections: 2048        # at once, of all sites\n"
                            "  connections_per_site: 4\n"
                            "  connections_per_address: 256 # raise it where many sites come through one proxy\n"
                            "  connections_per_second: 50 # new ones of one address; as many as at once may come in a burst\n"
                            "  handshake_timeout: 10s   # for TLS, websocket and the first message\n"
                            "  spool: 64GiB             # disk for the contributions of open rounds\n"
                            "  spool_per_site: 16GiB    # of it, for one site\n"
                            "  messages_per_second: 200 # of one connection\n"
                            "  workers: 0               # threads that open and sum contributions; 0: one a processor\n"
                            "\n"
                            "log:\n"
                            "  level: info              # error, warn, info or debug\n",
                            name, address, listen);
}
