#include "node/config.h"

#include "hanse/config.h"
#include "hanse/file.h"

static const char *const parts[] = {"split", "train", "test", NULL};         /* hanse_part */
static const char *const headers[] = {"by-plan", "yes", "no", NULL};         /* hanse_header */
static const char *const levels[] = {"error", "warn", "info", "debug", NULL}; /* hanse_level */

static const hanse_config_field text_item = {.kind = HANSE_CONFIG_TEXT, .size = sizeof(char *), .max = 4095};
static const hanse_config_field window_item = {.kind = HANSE_CONFIG_TEXT, .size = sizeof(char *), .max = 11};
static const hanse_config_field mark_item = {.kind = HANSE_CONFIG_TEXT, .size = sizeof(char *), .max = 63};

static const hanse_config_field file_fields[] = {
    {.key = "path", .kind = HANSE_CONFIG_TEXT, .required = true, HANSE_CONFIG_AT(hanse_node_file, path), .max = 4095,
     .help = "CSV file, or IDX pictures; plain or .gz"},
    {.key = "labels", .kind = HANSE_CONFIG_TEXT, HANSE_CONFIG_AT(hanse_node_file, labels), .max = 4095, .help = "IDX: the labels"},
    {.key = "name", .kind = HANSE_CONFIG_TEXT, HANSE_CONFIG_AT(hanse_node_file, name), .max = 255,
     .help = "what the split file calls it; default: the path's last part"},
    {.key = "part", .kind = HANSE_CONFIG_ENUM, HANSE_CONFIG_AT(hanse_node_file, part), .names = parts, .value = "split",
     .help = "all rows are for training or for test; split: by the split file, or the plan's test share"},
    {.key = NULL}};
static const hanse_config_field file_item = {.kind = HANSE_CONFIG_MAP, .size = sizeof(hanse_node_file), .fields = file_fields};

static const hanse_config_field data_fields[] = {
    {.key = "files", .kind = HANSE_CONFIG_LIST, .required = true, HANSE_CONFIG_AT(hanse_node_data, files),
     .count = offsetof(hanse_node_data, files_count), .min = 1, .max = 1024, .item = &file_item, .help = "read as if they were one"},
    {.key = "split", .kind = HANSE_CONFIG_TEXT, HANSE_CONFIG_AT(hanse_node_data, split), .max = 4095,
     .help = "CSV file,line,part; rows that it does not name are left out"},
    {.key = "missing", .kind = HANSE_CONFIG_LIST, HANSE_CONFIG_AT(hanse_node_data, missing),
     .count = offsetof(hanse_node_data, missing_count), .max = 32, .item = &mark_item,
     .help = "marks of a missing value; default: \"?\", \"\" and \"NA\""},
    {.key = "delimiter", .kind = HANSE_CONFIG_TEXT, HANSE_CONFIG_AT(hanse_node_data, delimiter), .max = 1, .help = "one byte; default: comma"},
    {.key = "header", .kind = HANSE_CONFIG_ENUM, HANSE_CONFIG_AT(hanse_node_data, header), .names = headers, .value = "by-plan",
     .help = "does the first line hold names? by-plan: when the plan lists no columns"},
    {.key = NULL}};
static const hanse_config_field data_item = {.kind = HANSE_CONFIG_MAP, .size = sizeof(hanse_node_data), .fields = data_fields};

static const hanse_config_field policy_fields[] = {
    {.key = "accept", .kind = HANSE_CONFIG_LIST, HANSE_CONFIG_AT(hanse_node_config, raw.accept),
     .count = offsetof(hanse_node_config, raw.accept_count), .max = 256, .item = &text_item,
     .help = "plan hashes that this site takes part in without asking; [any] is for tests and never covers sealed plans"},
    {.key = "allow_sealed", .kind = HANSE_CONFIG_BOOL, HANSE_CONFIG_AT(hanse_node_config, raw.allow_sealed), .value = "false",
     .help = "agree to plans under which the coordinator can see this site's single update"},
    {.key = "allow_two", .kind = HANSE_CONFIG_BOOL, HANSE_CONFIG_AT(hanse_node_config, raw.allow_two), .value = "false",
     .help = "masked: agree to runs of two sites, of which each can work out the other's update"},
    {.key = "trusted_coordinator", .kind = HANSE_CONFIG_BOOL, HANSE_CONFIG_AT(hanse_node_config, raw.trusted_coordinator), .value = "false",
     .help = "masked: agree to plans that assume that no site colludes with the coordinator"},
    {.key = "survivors_min", .kind = HANSE_CONFIG_UINT, HANSE_CONFIG_AT(hanse_node_config, raw.survivors_min), .max = 1024, .value = "0", .unit = "sites",
     .help = "masked: insist on sums of at least so many sites; 0: the floor"},
    {.key = "honest_min", .kind = HANSE_CONFIG_UINT, HANSE_CONFIG_AT(hanse_node_config, raw.honest_min), .max = 1024, .value = "0", .unit = "sites",
     .help = "masked: insist on so many honest sites in every sum, whoever colludes; 0: the floor"},
    {.key = "collusion_min", .kind = HANSE_CONFIG_UINT, HANSE_CONFIG_AT(hanse_node_config, raw.collusion_min), .max = 1024, .value = "0", .unit = "sites",
     .help = "masked: insist on protection against so many sites that collude with the coordinator; 0: the floor"},
    {.key = "threshold_min", .kind = HANSE_CONFIG_UINT, HANSE_CONFIG_AT(hanse_node_config, raw.threshold_min), .max = 1024, .value = "0", .unit = "sites",
     .help = "masked: insist that so many sites must help to open anything; 0: the floor"},
    {.key = "share_max", .kind = HANSE_CONFIG_REAL, HANSE_CONFIG_AT(hanse_node_config, raw.share_max), .low = 0.01, .high = 1, .value = "0.9",
     .help = "masked: decline where this site would hold more than this part of all rows: the sum would be its own update"},
    {.key = "ticket_life_max", .kind = HANSE_CONFIG_DURATION, HANSE_CONFIG_AT(hanse_node_config, raw.ticket_life_max_ms), .min = 3600000,
     .max = 15552000000, .value = "30d", .help = "masked: refuse plans whose tickets live longer"},
    {.key = NULL}};

static const hanse_config_field transfer_fields[] = {
    {.key = "rate", .kind = HANSE_CONFIG_SIZE, HANSE_CONFIG_AT(hanse_node_config, rate), .min = 64 << 10, .max = (uint64_t)1 << 40,
     .help = "bytes a second on the link to the coordinator, in each direction; default: no cap"},
    {.key = "windows", .kind = HANSE_CONFIG_LIST, HANSE_CONFIG_AT(hanse_node_config, raw.windows),
     .count = offsetof(hanse_node_config, raw.windows_count), .max = HANSE_NODE_WINDOWS_MAX, .item = &window_item,
     .help = "times of the day, by this machine's clock, in which models and contributions move; default: always"},
    {.key = NULL}};

static const hanse_config_field log_fields[] = {
    {.key = "level", .kind = HANSE_CONFIG_ENUM, HANSE_CONFIG_AT(hanse_node_config, level), .names = levels, .value = "info",
     .help = "least important events that are logged"},
    {.key = NULL}};

static const hanse_config_field fields[] = {
    {.key = "coordinator", .kind = HANSE_CONFIG_TEXT, .required = true, HANSE_CONFIG_AT(hanse_node_config, coordinator), .max = 300,
     .help = "HOST:PORT"},
    {.key = "server_name", .kind = HANSE_CONFIG_TEXT, HANSE_CONFIG_AT(hanse_node_config, server_name), .max = 255,
     .help = "name in the coordinator's certificate; default: the host"},
    {.key = "organisation", .kind = HANSE_CONFIG_NAME, .required = true, HANSE_CONFIG_AT(hanse_node_config, organisation),
     .help = "as in the invitation"},
    {.key = "site", .kind = HANSE_CONFIG_NAME, .required = true, HANSE_CONFIG_AT(hanse_node_config, site), .help = "as in the invitation"},
    {.key = "data", .kind = HANSE_CONFIG_TABLE, HANSE_CONFIG_AT(hanse_node_config, data),
     .count = offsetof(hanse_node_config, data_count), .max = 64, .item = &data_item, .help = "data set as plans call it: its files here"},
    {.key = "renew_days", .kind = HANSE_CONFIG_UINT, HANSE_CONFIG_AT(hanse_node_config, renew_days), .max = 3650, .value = "0", .unit = "days",
     .help = "ask for new certificates when fewer are left; 0: a third of their life"},
    {.key = "transfer", .kind = HANSE_CONFIG_MAP, .fields = transfer_fields, .help = "what the link to the coordinator may be used for, and when"},
    {.key = "policy", .kind = HANSE_CONFIG_MAP, .fields = policy_fields, .help = "what this site agrees to"},
    {.key = "log", .kind = HANSE_CONFIG_MAP, .fields = log_fields, .help = "logging"},
    {.key = NULL}};

hanse_rc hanse_node_address_split(const char *address, char *host, size_t room, uint16_t *port, hanse_err *err)
{
    const char *colon = strrchr(address, ':'), *first = address;
    size_t len = colon != NULL ? (size_t)(colon - address) : 0;
    uint64_t number;
    hanse_rc rc;

    if (len >= 2 && address[0] == '[' && address[len - 1] == ']') {
        first++;
        len -= 2;
    } else if (address[0] == '[' || (len > 0 && memchr(address, ':', len) != NULL)) {
        len = 0; /* an IPv6 address needs its brackets */
    }
    if (len == 0 || len >= room)
        return HANSE_FAIL(err, HANSE_E_INVALID, "coordinator: \"%s\" is not HOST:PORT or [IPv6]:PORT", address);
    rc = hanse_parse_uint(colon + 1, 1, UINT16_MAX, &number, "coordinator: port", err);
    if (rc != HANSE_OK)
        return rc;
    memcpy(host, first, len);
    host[len] = '\0';
    *port = (uint16_t)number;
    return HANSE_OK;
}

/* `raw.accept` into hashes. */
static hanse_rc policy_of(hanse_node_config *config, const hanse_config_where *where, hanse_err *err)
{
    config->policy.allow_sealed = config->raw.allow_sealed;
    config->policy.masking = (hanse_secagg_policy){.allow_two = config->raw.allow_two, .trusted_coordinator = config->raw.trusted_coordinator,
                                                   .survivors_min = (uint32_t)config->raw.survivors_min, .honest_min = (uint32_t)config->raw.honest_min,
                                                   .collusion_min = (uint32_t)config->raw.collusion_min,
                                                   .threshold_min = (uint32_t)config->raw.threshold_min};
    config->policy.share_max_ppm = (uint32_t)(config->raw.share_max * 1e6 + 0.5);
    config->policy.ticket_life_max_ms = config->raw.ticket_life_max_ms;
    if (config->raw.accept_count == 0)
        return HANSE_OK;
    config->policy.plans = hanse_calloc(config->raw.accept_count, 32);
    if (config->policy.plans == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "policy.accept");
    for (size_t i = 0; i < config->raw.accept_count; i++) {
        const char *word = config->raw.accept[i];
        if (strcmp(word, "any") == 0)
            config->policy.accept_any = true;
        else if (hanse_hex_decode(config->policy.plans[config->policy.plans_count], 32, word, NULL) == HANSE_OK)
            config->policy.plans_count++;
        else
            return HANSE_CONFIG_FAIL(where, err, "policy.accept", "\"%s\" is no plan hash (64 hex digits) and not \"any\"", word);
    }
    return HANSE_OK;
}

static hanse_rc windows_of(hanse_node_config *config, const hanse_config_where *where, hanse_err *err)
{
    for (size_t i = 0; i < config->raw.windows_count; i++) {
        hanse_err why;

        if (hanse_node_window_parse(&config->windows[i], config->raw.windows[i], &why) != HANSE_OK)
            return HANSE_CONFIG_FAIL(where, err, "transfer.windows", "%s", why.text);
    }
    return HANSE_OK;
}

hanse_rc hanse_node_config_parse(hanse_node_config *out, hanse_bytes text, const char *origin, hanse_err *err)
{
    hanse_config_where *where = NULL;
    hanse_rc rc;

    memset(out, 0, sizeof *out);
    rc = hanse_config_parse(fields, out, sizeof *out, text, origin, &where, err);
    if (rc != HANSE_OK)
        return rc;
    rc = hanse_node_address_split(out->coordinator, out->host, sizeof out->host, &out->port, err);
    if (rc != HANSE_OK)
        hanse_err_wrap(err, "%s", origin);
    else
        rc = policy_of(out, where, err);
    if (rc == HANSE_OK)
        rc = windows_of(out, where, err);
    hanse_config_where_free(where);
    if (rc != HANSE_OK)
        hanse_node_config_clear(out);
    return rc;
}

hanse_rc hanse_node_config_load(hanse_node_config *out, const char *dir, hanse_err *err)
{
    hanse_path path;
    hanse_buf text = HANSE_BUF_EMPTY;
    hanse_rc rc = hanse_path_join(path, dir, HANSE_NODE_FILE, err);

    memset(out, 0, sizeof *out);
    if (rc == HANSE_OK)
        rc = hanse_file_read(&text, path, HANSE_CONFIG_TEXT_MAX, err);
    if (rc == HANSE_OK)
        rc = hanse_node_config_parse(out, hanse_buf_bytes(&text), path, err);
    else if (rc == HANSE_E_NOTFOUND)
        rc = HANSE_FAIL(err, rc, "%s: not there; `hanse-node enrol INVITATION --dir DIR` makes it", path);
    hanse_buf_clear(&text);
    return rc;
}

void hanse_node_config_clear(hanse_node_config *config)
{
    hanse_free(config->policy.plans);
    hanse_config_clear(fields, config);
    memset(config, 0, sizeof *config);
}

/* `name` under `dir`, allocated; NULL stays NULL. */
static hanse_rc resolve(char **out, const char *dir, const char *name, hanse_err *err)
{
    hanse_path path;
    hanse_rc rc;

    *out = NULL;
    if (name == NULL)
        return HANSE_OK;
    rc = hanse_path_join(path, dir, name, err);
    if (rc == HANSE_OK && (*out = hanse_strndup(path, strlen(path))) == NULL)
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "%s", name);
    return rc;
}

hanse_rc hanse_node_config_dataset(const hanse_node_config *config, const char *dir, const hanse_plan *plan, hanse_dataset **out,
                                   hanse_err *err)
{
    const hanse_node_data *data = NULL;
    hanse_source_file *files = NULL;
    char **owned = NULL, *split = NULL;
    hanse_rc rc = HANSE_OK;

    for (size_t i = 0; i < config->data_count; i++)
        if (strcmp(config->data[i].name, plan->data.name) == 0)
            data = &config->data[i];
    if (data == NULL)
        return HANSE_FAIL(err, HANSE_E_NOTFOUND, "%s: the plan wants data \"%s\"; add it under data:", HANSE_NODE_FILE, plan->data.name);
    files = hanse_calloc(data->files_count, sizeof *files);
    owned = hanse_calloc(data->files_count, 2 * sizeof *owned);
    if (files == NULL || owned == NULL)
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "data \"%s\"", data->name);
    for (size_t i = 0; rc == HANSE_OK && i < data->files_count; i++) {
        rc = resolve(&owned[2 * i], dir, data->files[i].path, err);
        if (rc == HANSE_OK)
            rc = resolve(&owned[2 * i + 1], dir, data->files[i].labels, err);
        files[i] = (hanse_source_file){.path = owned[2 * i], .labels = owned[2 * i + 1], .split_name = data->files[i].name,
                                       .part = (hanse_part)data->files[i].part};
    }
    if (rc == HANSE_OK)
        rc = resolve(&split, dir, data->split, err);
    if (rc == HANSE_OK) {
        hanse_source source = {.files = files, .files_count = data->files_count, .split_path = split,
                               .missing = data->missing_count ? (const char *const *)data->missing : NULL,
                               .missing_count = data->missing_count, .delimiter = data->delimiter ? data->delimiter[0] : '\0',
                               .header = (hanse_header)data->header};
        rc = hanse_dataset_load(out, plan, &source, err);
    }
    for (size_t i = 0; owned != NULL && i < 2 * data->files_count; i++)
        hanse_free(owned[i]);
    hanse_free(owned);
    hanse_free(files);
    hanse_free(split);
    return rc;
}

hanse_rc hanse_node_config_template(hanse_buf *out, const char *coordinator, const char *server_name, const char *organisation,
                                    const char *site, hanse_err *err)
{
    return hanse_buf_printf(out, err,
        "# node.yaml: this site's side of the consortium. `hanse-node check` reads it and says what is wrong.\n"
        "coordinator: \"%s\"\n%s%s%s"
        "organisation: \"%s\"\nsite: \"%s\"\n\n"
        "# Where the data lies. A plan names a data set; only this file knows the files. Paths count from this directory.\n"
        "#data:\n"
        "#  heart-disease:\n"
        "#    files:\n"
        "#      - path: /srv/data/heart.csv   # .gz is read as well; for IDX pictures add `labels: FILE`\n"
        "#        part: split                 # train, test, or split: by the file below, else by the plan's test share\n"
        "#    split: /srv/data/split.csv      # file,line,part\n"
        "#    missing: [\"?\", \"\", \"NA\"]\n"
        "#    delimiter: \",\"\n"
        "#    header: by-plan                 # yes, no, by-plan: the first line holds names when the plan lists no columns\n\n"
        "policy:\n"
        "  # Plans taken without asking, by their 64 hex digits. With [] each run is accepted by hand: `hanse-node accept plan HASH`.\n"
        "  accept: []\n"
        "  # Under a sealed plan the coordinator could read this site's single updates. true: this site trusts it not to.\n"
        "  allow_sealed: false\n"
        "  # A sum over two sites tells each the other's part. true: this site agrees to runs of two.\n"
        "  allow_two: false\n"
        "  # Masked runs: ask for more than docs/privacy.md's floors; 0: the floors.\n"
        "#  survivors_min: 0                 # sites in every sum at least: so many may be missing as the run has more\n"
        "#  honest_min: 0                    # honest sites in every sum, whoever colludes\n"
        "#  collusion_min: 0                 # sites that may collude with the coordinator, and learn nothing\n"
        "#  threshold_min: 0                 # sites that must help to open anything\n"
        "#  ticket_life_max: 30d             # of the keys left for rounds to come\n\n"
        "# What the link to the coordinator may carry, for a line that others use too.\n"
        "#transfer:\n"
        "#  rate: 2MiB                       # bytes a second, each way\n"
        "#  windows: [\"22:00-06:00\"]         # models and contributions move only then; everything small always\n\n"
        "log:\n  level: info\n",
        coordinator, server_name ? "server_name: \"" : "", server_name ? server_name : "", server_name ? "\"\n" : "", organisation, site);
}
