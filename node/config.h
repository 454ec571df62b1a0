/* config.h - node.yaml: which coordinator, which data, and what this site agrees to.
 *
 * A plan names data sets; only this file maps a name to files. Relative paths count from DIR. docs/operate.md. */
#ifndef HANSE_NODE_CONFIG_H
#define HANSE_NODE_CONFIG_H

#include "hanse/log.h"
#include "hanse/plan.h"
#include "node/data/dataset.h"
#include "node/site/policy.h"
#include "node/window.h"

#define HANSE_NODE_FILE "node.yaml"

/* One file of a data set as it is written. */
typedef struct hanse_node_file {
    char *path;   /* CSV, or IDX pictures */
    char *labels; /* IDX; NULL otherwise */
    char *name;   /* what the split file calls it; NULL: the path's last part */
    int part;     /* hanse_part */
} hanse_node_file;

typedef struct hanse_node_data {
    hanse_name name; /* as plans call it */
    hanse_node_file *files;
    size_t files_count;
    char *split;
    char **missing;
    size_t missing_count;
    char *delimiter;
    int header; /* hanse_header */
} hanse_node_data;

typedef struct hanse_node_config {
    char *coordinator; /* "host:port", "[v6]:port" */
    char host[256];
    uint16_t port;
    char *server_name; /* NULL: host */
    hanse_name organisation, site;
    hanse_node_data *data;
    size_t data_count;
    struct {
        char **accept; /* plan hashes as hex, or the one word "any" */
        size_t accept_count;
        bool allow_sealed, allow_two, trusted_coordinator;
        uint64_t survivors_min, honest_min, collusion_min, threshold_min, ticket_life_max_ms;
        double share_max;
        char **windows; /* "HH:MM-HH:MM" */
        size_t windows_count;
    } raw;
    hanse_site_policy policy; /* `raw`, checked; hashes owned */
    uint64_t rate;            /* bytes a second, each way; 0: no cap */
    hanse_node_window windows[HANSE_NODE_WINDOWS_MAX]; /* `raw`, checked */
    uint64_t renew_days;      /* 0: a third of a certificate's life */
    int level;                /* hanse_level */
} hanse_node_config;

/* Read and check DIR/node.yaml. `out` owned by the caller, see hanse_node_config_clear(); zeros on error.
 * Errors: INVALID ("node.yaml:LINE: key: what"), NOTFOUND, IO, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_node_config_load(hanse_node_config *out, const char *dir, hanse_err *err);
/* The same from memory; `origin` begins every message. */
HANSE_MUST_CHECK hanse_rc hanse_node_config_parse(hanse_node_config *out, hanse_bytes text, const char *origin, hanse_err *err);
void hanse_node_config_clear(hanse_node_config *config); /* zeroed struct allowed */

/* "host:port" or "[v6]:port" into its parts. Errors: INVALID. */
HANSE_MUST_CHECK hanse_rc hanse_node_address_split(const char *address, char *host, size_t room, uint16_t *port, hanse_err *err);

/* The rows that `plan` asks for, read from where node.yaml says, unscaled. `dir`: where relative paths begin.
 * Errors: NOTFOUND (no such data name), and those of hanse_dataset_load(). */
HANSE_MUST_CHECK hanse_rc hanse_node_config_dataset(const hanse_node_config *config, const char *dir, const hanse_plan *plan,
                                                    hanse_dataset **out, hanse_err *err);

/* The commented file that `enrol` writes. */
HANSE_MUST_CHECK hanse_rc hanse_node_config_template(hanse_buf *out, const char *coordinator, const char *server_name,
                                                     const char *organisation, const char *site, hanse_err *err);

#endif
