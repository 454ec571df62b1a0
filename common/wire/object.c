#include "hanse/object.h"

#include "hanse/cursor.h"
#include "hanse/digest.h"
#include "hanse/reader.h"

#include <openssl/evp.h>
#include <stdlib.h>

/* Every encode: a list of fields, then this. */
static hanse_rc finish(const hanse_writer *writer, size_t before, hanse_err *err)
{
    hanse_rc rc = hanse_writer_done(writer, err);

    if (rc != HANSE_OK)
        writer->out->len = before;
    return rc;
}

/* --- offer --- */

hanse_rc hanse_offer_encode(hanse_buf *out, const hanse_offer *offer, hanse_err *err)
{
    size_t before = out->len;
    hanse_writer writer = hanse_writer_to(out);

    hanse_write_raw(&writer, offer->run, 16);
    hanse_write_raw(&writer, offer->plan_hash, 32);
    hanse_write_raw(&writer, offer->roster_hash, 32);
    hanse_write_raw(&writer, offer->model_root, 32);
    hanse_write_raw(&writer, offer->seal_key, 32);
    hanse_write_u64(&writer, offer->opened_ms);
    return finish(&writer, before, err);
}

hanse_rc hanse_offer_decode(hanse_offer *out, hanse_bytes in, hanse_err *err)
{
    hanse_reader reader = hanse_reader_of(in);
    hanse_offer offer = {0};
    hanse_rc rc;

    hanse_read_raw(&reader, offer.run, 16);
    hanse_read_raw(&reader, offer.plan_hash, 32);
    hanse_read_raw(&reader, offer.roster_hash, 32);
    hanse_read_raw(&reader, offer.model_root, 32);
    hanse_read_raw(&reader, offer.seal_key, 32);
    offer.opened_ms = hanse_read_u64(&reader);
    rc = hanse_reader_done(&reader, "offer", err);
    if (rc == HANSE_OK)
        *out = offer;
    return rc;
}

/* --- roster --- */

static bool is_ascii(const char *text)
{
    if (text[0] == '\0')
        return false;
    for (; *text != '\0'; text++)
        if (*text < 0x20 || *text > 0x7e)
            return false;
    return true;
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(((const hanse_roster_site *)a)->id, ((const hanse_roster_site *)b)->id, 32); /* public values */
}

static int compare_uris(const void *a, const void *b)
{
    return strcmp((*(const hanse_roster_site *const *)a)->uri, (*(const hanse_roster_site *const *)b)->uri);
}

static int compare_names(const void *a, const void *b)
{
    const hanse_roster_site *left = *(const hanse_roster_site *const *)a, *right = *(const hanse_roster_site *const *)b;
    int order = strcmp(left->organisation, right->organisation);

    return order != 0 ? order : strcmp(left->name, right->name);
}

/* What is wrong with a roster, or NULL. `index` is room for sites_count pointers. */
static const char *roster_problem(const hanse_roster *roster, const hanse_roster_site **index)
{
    if (!is_ascii(roster->consortium))
        return "the consortium's name is not printable ASCII";
    for (size_t i = 0; i < roster->sites_count; i++) {
        const hanse_roster_site *site = &roster->sites[i];

        if (!is_ascii(site->uri) || strncmp(site->uri, "urn:hanse:", 10) != 0)
            return "a site's uri is no urn:hanse:";
        if (!is_ascii(site->organisation) || !is_ascii(site->name))
            return "a name is not printable ASCII";
        if (site->cert.len == 0 || site->cert.len > HANSE_CERT_DER_MAX)
            return "a certificate has an impossible length";
        if (i > 0 && compare_ids(site - 1, site) >= 0)
            return "sites are not in ascending order of their ids";
        index[i] = site;
    }
    qsort(index, roster->sites_count, sizeof *index, compare_uris);
    for (size_t i = 1; i < roster->sites_count; i++)
        if (compare_uris(&index[i - 1], &index[i]) == 0)
            return "two sites have one uri";
    qsort(index, roster->sites_count, sizeof *index, compare_names);
    for (size_t i = 1; i < roster->sites_count; i++)
        if (compare_names(&index[i - 1], &index[i]) == 0)
            return "two sites of one organisation have one name";
    return NULL;
}

static hanse_rc roster_check(const hanse_roster *roster, hanse_rc bad, hanse_err *err)
{
    const hanse_roster_site **index;
    const char *problem;

    if (roster->sites_count == 0 || roster->sites_count > HANSE_SITES_MAX)
        return HANSE_FAIL(err, bad, "roster: %zu sites, must be 1 to %d", roster->sites_count, HANSE_SITES_MAX);
    index = hanse_calloc(roster->sites_count, sizeof *index);
    if (index == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for a roster of %zu sites", roster->sites_count);
    problem = roster_problem(roster, index);
    hanse_free(index);
    return problem == NULL ? HANSE_OK : HANSE_FAIL(err, bad, "roster: %s", problem);
}

hanse_rc hanse_roster_hash(uint8_t hash[32], const hanse_roster *roster, hanse_err *err)
{
    hanse_buf who = HANSE_BUF_EMPTY;
    hanse_writer writer = hanse_writer_to(&who);
    hanse_rc rc;

    hanse_write_str(&writer, roster->consortium);
    for (size_t i = 0; i < roster->sites_count; i++) {
        hanse_write_raw(&writer, roster->sites[i].id, 32);
        hanse_write_str(&writer, roster->sites[i].uri);
        hanse_write_str(&writer, roster->sites[i].organisation);
        hanse_write_str(&writer, roster->sites[i].name);
    }
    rc = hanse_writer_done(&writer, err);
    if (rc == HANSE_OK)
        rc = hanse_sha256(hash, hanse_buf_bytes(&who), err);
    hanse_buf_clear(&who);
    return rc;
}

hanse_rc hanse_roster_encode(hanse_buf *out, const hanse_roster *roster, hanse_err *err)
{
    size_t before = out->len;
    hanse_writer writer = hanse_writer_to(out);
    hanse_rc rc = roster_check(roster, HANSE_E_USAGE, err);

    if (rc != HANSE_OK)
        return rc;
    hanse_write_str(&writer, roster->consortium);
    hanse_write_u32(&writer, (uint32_t)roster->sites_count);
    for (size_t i = 0; i < roster->sites_count; i++) {
        const hanse_roster_site *site = &roster->sites[i];

        hanse_write_raw(&writer, site->id, 32);
        hanse_write_str(&writer, site->uri);
        hanse_write_str(&writer, site->organisation);
        hanse_write_str(&writer, site->name);
        hanse_write_bytes(&writer, site->cert);
    }
    rc = finish(&writer, before, err);
    if (rc == HANSE_OK && out->len - before > HANSE_ROSTER_MAX) {
        rc = HANSE_FAIL(err, HANSE_E_USAGE, "roster: %zu bytes, at most %zu", out->len - before, HANSE_ROSTER_MAX);
        out->len = before;
    }
    return rc;
}

hanse_rc hanse_roster_decode(hanse_roster *out, hanse_bytes in, hanse_err *err)
{
    hanse_reader reader = hanse_reader_of(in);
    hanse_roster roster = {0};
    uint32_t count;
    hanse_rc rc;

    hanse_read_str(&reader, roster.consortium, sizeof roster.consortium);
    count = hanse_read_u32(&reader);
    /* An entry takes 32 + 4 * 4 bytes at least, so memory is bounded by what has arrived. */
    if (count == 0 || count > HANSE_SITES_MAX || count > reader.left.len / 48)
        hanse_reader_fail(&reader, "impossible number of sites");
    if (reader.problem != NULL)
        return hanse_reader_done(&reader, "roster", err);
    roster.sites = hanse_calloc(count, sizeof *roster.sites);
    if (roster.sites == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for a roster of %u sites", (unsigned)count);
    roster.sites_count = count;
    for (size_t i = 0; i < count; i++) {
        hanse_roster_site *site = &roster.sites[i];

        hanse_read_raw(&reader, site->id, 32);
        hanse_read_str(&reader, site->uri, sizeof site->uri);
        hanse_read_str(&reader, site->organisation, sizeof site->organisation);
        hanse_read_str(&reader, site->name, sizeof site->name);
        site->cert = hanse_read_bytes(&reader, HANSE_CERT_DER_MAX);
    }
    rc = hanse_reader_done(&reader, "roster", err);
    if (rc == HANSE_OK)
        rc = roster_check(&roster, HANSE_E_PROTOCOL, err);
    if (rc == HANSE_OK)
        *out = roster;
    else
        hanse_roster_clear(&roster);
    return rc;
}

void hanse_roster_clear(hanse_roster *roster)
{
    if (roster == NULL)
        return;
    hanse_free(roster->sites);
    *roster = (hanse_roster){0};
}

void hanse_roster_sort(hanse_roster *roster)
{
    if (roster->sites_count > 1)
        qsort(roster->sites, roster->sites_count, sizeof *roster->sites, compare_ids);
}

const hanse_roster_site *hanse_roster_find(const hanse_roster *roster, const uint8_t id[32])
{
    hanse_roster_site key;

    if (roster->sites_count == 0)
        return NULL;
    memcpy(key.id, id, 32);
    return bsearch(&key, roster->sites, roster->sites_count, sizeof *roster->sites, compare_ids);
}

/* --- spec --- */

static const char *spec_problem(const hanse_spec *spec)
{
    return spec->kind > HANSE_ROUND_EVALUATION ? "unknown kind of round"
         : spec->chunk != HANSE_CHUNK_LEN ? "unknown chunk length"
         : spec->model_size == 0 || spec->model_size > HANSE_MODEL_SIZE_MAX ? "impossible size of the model" : NULL;
}

hanse_rc hanse_spec_encode(hanse_buf *out, const hanse_spec *spec, hanse_err *err)
{
    size_t before = out->len;
    hanse_writer writer = hanse_writer_to(out);

    if (spec_problem(spec) != NULL)
        return HANSE_FAIL(err, HANSE_E_USAGE, "spec: %s", spec_problem(spec));
    hanse_write_raw(&writer, spec->run, 16);
    hanse_write_u64(&writer, spec->round);
    hanse_write_u32(&writer, spec->attempt);
    hanse_write_u64(&writer, spec->slot);
    hanse_write_u8(&writer, spec->kind);
    hanse_write_raw(&writer, spec->model_root, 32);
    hanse_write_u64(&writer, spec->model_size);
    hanse_write_raw(&writer, spec->plan_hash, 32);
    hanse_write_raw(&writer, spec->roster_hash, 32);
    hanse_write_raw(&writer, spec->statistics_root, 32);
    hanse_write_raw(&writer, spec->previous, 32);
    hanse_write_u64(&writer, spec->deadline_ms);
    hanse_write_u32(&writer, spec->chunk);
    return finish(&writer, before, err);
}

hanse_rc hanse_spec_decode(hanse_spec *out, hanse_bytes in, hanse_err *err)
{
    hanse_reader reader = hanse_reader_of(in);
    hanse_spec spec = {0};
    hanse_rc rc;

    hanse_read_raw(&reader, spec.run, 16);
    spec.round = hanse_read_u64(&reader);
    spec.attempt = hanse_read_u32(&reader);
    spec.slot = hanse_read_u64(&reader);
    spec.kind = hanse_read_u8(&reader);
    hanse_read_raw(&reader, spec.model_root, 32);
    spec.model_size = hanse_read_u64(&reader);
    hanse_read_raw(&reader, spec.plan_hash, 32);
    hanse_read_raw(&reader, spec.roster_hash, 32);
    hanse_read_raw(&reader, spec.statistics_root, 32);
    hanse_read_raw(&reader, spec.previous, 32);
    spec.deadline_ms = hanse_read_u64(&reader);
    spec.chunk = hanse_read_u32(&reader);
    if (spec_problem(&spec) != NULL)
        hanse_reader_fail(&reader, spec_problem(&spec));
    rc = hanse_reader_done(&reader, "spec", err);
    if (rc == HANSE_OK)
        *out = spec;
    return rc;
}

/* --- upload --- */

static const char *upload_problem(const hanse_upload *upload)
{
    return upload->aux_len == 0 || upload->aux_len > HANSE_CHUNK_LEN || upload->aux_len % 8 != 0
             ? "impossible length of the aux segment"
         : upload->data_len > HANSE_MODEL_SIZE_MAX || upload->data_len % 4 != 0 ? "impossible length of the data segment" : NULL;
}

hanse_rc hanse_upload_encode(hanse_buf *out, const hanse_upload *upload, hanse_err *err)
{
    size_t before = out->len;
    hanse_writer writer = hanse_writer_to(out);

    if (upload_problem(upload) != NULL)
        return HANSE_FAIL(err, HANSE_E_USAGE, "upload: %s", upload_problem(upload));
    hanse_write_raw(&writer, upload->run, 16);
    hanse_write_u64(&writer, upload->round);
    hanse_write_u32(&writer, upload->attempt);
    hanse_write_u64(&writer, upload->slot);
    hanse_write_raw(&writer, upload->site_id, 32);
    hanse_write_raw(&writer, upload->key_id, 32);
    hanse_write_raw(&writer, upload->plan_hash, 32);
    hanse_write_raw(&writer, upload->model_root, 32);
    hanse_write_raw(&writer, upload->spec_hash, 32);
    hanse_write_u64(&writer, upload->aux_len);
    hanse_write_u64(&writer, upload->data_len);
    hanse_write_raw(&writer, upload->enc, 32);
    return finish(&writer, before, err);
}

hanse_rc hanse_upload_decode(hanse_upload *out, hanse_bytes in, hanse_err *err)
{
    hanse_reader reader = hanse_reader_of(in);
    hanse_upload upload = {0};
    hanse_rc rc;

    hanse_read_raw(&reader, upload.run, 16);
    upload.round = hanse_read_u64(&reader);
    upload.attempt = hanse_read_u32(&reader);
    upload.slot = hanse_read_u64(&reader);
    hanse_read_raw(&reader, upload.site_id, 32);
    hanse_read_raw(&reader, upload.key_id, 32);
    hanse_read_raw(&reader, upload.plan_hash, 32);
    hanse_read_raw(&reader, upload.model_root, 32);
    hanse_read_raw(&reader, upload.spec_hash, 32);
    upload.aux_len = hanse_read_u64(&reader);
    upload.data_len = hanse_read_u64(&reader);
    hanse_read_raw(&reader, upload.enc, 32);
    if (upload_problem(&upload) != NULL)
        hanse_reader_fail(&reader, upload_problem(&upload));
    rc = hanse_reader_done(&reader, "upload", err);
    if (rc == HANSE_OK)
        *out = upload;
    return rc;
}

uint64_t hanse_upload_chunks(const hanse_upload *upload)
{
    return 1 + (upload->data_len + HANSE_CHUNK_LEN - 1) / HANSE_CHUNK_LEN;
}

size_t hanse_upload_chunk_len(const hanse_upload *upload, uint64_t index)
{
    uint64_t left;

    if (index == 0)
        return (size_t)upload->aux_len;
    if (index >= hanse_upload_chunks(upload))
        return 0;
    left = upload->data_len - (index - 1) * HANSE_CHUNK_LEN;
    return left < HANSE_CHUNK_LEN ? (size_t)left : HANSE_CHUNK_LEN;
}

/* --- receipt --- */

hanse_rc hanse_receipt_encode(hanse_buf *out, const hanse_receipt *receipt, hanse_err *err)
{
    size_t before = out->len;
    hanse_writer writer = hanse_writer_to(out);

    hanse_write_raw(&writer, receipt->spec_hash, 32);
    hanse_write_raw(&writer, receipt->site_id, 32);
    hanse_write_raw(&writer, receipt->upload_hash, 32);
    hanse_write_u64(&writer, receipt->time_ms);
    return finish(&writer, before, err);
}

hanse_rc hanse_receipt_decode(hanse_receipt *out, hanse_bytes in, hanse_err *err)
{
    hanse_reader reader = hanse_reader_of(in);
    hanse_receipt receipt = {0};
    hanse_rc rc;

    hanse_read_raw(&reader, receipt.spec_hash, 32);
    hanse_read_raw(&reader, receipt.site_id, 32);
    hanse_read_raw(&reader, receipt.upload_hash, 32);
    receipt.time_ms = hanse_read_u64(&reader);
    rc = hanse_reader_done(&reader, "receipt", err);
    if (rc == HANSE_OK)
        *out = receipt;
    return rc;
}

/* --- result --- */

static const char *result_problem(const hanse_result *result)
{
    if (result->kind > HANSE_ROUND_EVALUATION || result->status > HANSE_ROUND_VOID || result->state > HANSE_RUN_FAILED)
        return "unknown kind, status or state";
    if (!hanse_text_is_printable(hanse_bytes_str(result->reason)))
        return "the reason is not printable UTF-8";
    if (result->model_size > HANSE_MODEL_SIZE_MAX)
        return "impossible size of the model";
    if (result->metrics.len > HANSE_METRICS_MAX || result->metrics.len % 8 != 0)
        return "impossible length of the metrics";
    if (result->masking.len > HANSE_MASKING_MAX)
        return "masking too long";
    if (result->participants_count > HANSE_SITES_MAX)
        return "impossible number of participants";
    for (size_t i = 1; i < result->participants_count; i++)
        if (memcmp(result->participants[i - 1], result->participants[i], 32) >= 0) /* public values */
            return "participants are not in ascending order";
    return NULL;
}

hanse_rc hanse_result_encode(hanse_buf *out, const hanse_result *result, hanse_err *err)
{
    size_t before = out->len;
    hanse_writer writer = hanse_writer_to(out);

    if (result_problem(result) != NULL)
        return HANSE_FAIL(err, HANSE_E_USAGE, "result: %s", result_problem(result));
    hanse_write_raw(&writer, result->run, 16);
    hanse_write_u64(&writer, result->round);
    hanse_write_u32(&writer, result->attempt);
    hanse_write_u64(&writer, result->slot);
    hanse_write_u8(&writer, result->kind);
    hanse_write_u8(&writer, result->status);
    hanse_write_str(&writer, result->reason);
    hanse_write_raw(&writer, result->model_root, 32);
    hanse_write_u64(&writer, result->model_size);
    hanse_write_raw(&writer, result->statistics_root, 32);
    hanse_write_raw(&writer, result->metrics_of, 32);
    hanse_write_bytes(&writer, result->metrics);
    hanse_write_bytes(&writer, result->masking);
    hanse_write_u32(&writer, (uint32_t)result->participants_count);
    for (size_t i = 0; i < result->participants_count; i++)
        hanse_write_raw(&writer, result->participants[i], 32);
    hanse_write_u8(&writer, result->state);
    hanse_write_u64(&writer, result->best_round);
    hanse_write_raw(&writer, result->best_root, 32);
    return finish(&writer, before, err);
}

hanse_rc hanse_result_decode(hanse_result *out, hanse_bytes in, hanse_err *err)
{
    hanse_reader reader = hanse_reader_of(in);
    hanse_result result = {0};
    uint32_t count;
    hanse_rc rc;

    hanse_read_raw(&reader, result.run, 16);
    result.round = hanse_read_u64(&reader);
    result.attempt = hanse_read_u32(&reader);
    result.slot = hanse_read_u64(&reader);
    result.kind = hanse_read_u8(&reader);
    result.status = hanse_read_u8(&reader);
    hanse_read_str(&reader, result.reason, sizeof result.reason);
    hanse_read_raw(&reader, result.model_root, 32);
    result.model_size = hanse_read_u64(&reader);
    hanse_read_raw(&reader, result.statistics_root, 32);
    hanse_read_raw(&reader, result.metrics_of, 32);
    result.metrics = hanse_read_bytes(&reader, HANSE_METRICS_MAX);
    result.masking = hanse_read_bytes(&reader, HANSE_MASKING_MAX);
    count = hanse_read_u32(&reader);
    if (count > HANSE_SITES_MAX || count > reader.left.len / 32)
        hanse_reader_fail(&reader, "impossible number of participants");
    if (reader.problem != NULL)
        return hanse_reader_done(&reader, "result", err);
    if (count > 0) {
        result.participants = hanse_calloc(count, sizeof *result.participants);
        if (result.participants == NULL)
            return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for %u participants", (unsigned)count);
        hanse_read_raw(&reader, result.participants, (size_t)count * 32);
    }
    result.participants_count = count;
    result.state = hanse_read_u8(&reader);
    result.best_round = hanse_read_u64(&reader);
    hanse_read_raw(&reader, result.best_root, 32);
    if (result_problem(&result) != NULL)
        hanse_reader_fail(&reader, result_problem(&result));
    rc = hanse_reader_done(&reader, "result", err);
    if (rc == HANSE_OK)
        *out = result;
    else
        hanse_result_clear(&result);
    return rc;
}

void hanse_result_clear(hanse_result *result)
{
    if (result == NULL)
        return;
    hanse_free(result->participants);
    *result = (hanse_result){0};
}

hanse_rc hanse_object_hash(uint8_t hash[32], hanse_bytes bytes, hanse_err *err)
{
    if (EVP_Digest(bytes.data, bytes.len, hash, NULL, EVP_sha256(), NULL) != 1)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "SHA-256 is not available");
    return HANSE_OK;
}
