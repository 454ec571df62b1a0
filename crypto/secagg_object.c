#include "hanse/secagg_object.h"

#include "hanse/reader.h"

/* Every encode ends here. */
static hanse_rc finish(const hanse_writer *writer, size_t before, hanse_err *err)
{
    hanse_rc rc = hanse_writer_done(writer, err);

    if (rc != HANSE_OK)
        writer->out->len = before;
    return rc;
}

/* Every decode ends here: the reader's words under this room's name. */
static hanse_rc done(const hanse_reader *reader, const char *what, hanse_err *err)
{
    hanse_err why;

    if (hanse_reader_done(reader, what, &why) != HANSE_OK)
        return HANSE_SECAGG_FAIL(err, ENCODING, "%s", why.text);
    return HANSE_OK;
}

/* A list's count: 1..max, and no more than the bytes left can hold. */
static uint32_t read_count(hanse_reader *reader, uint32_t max, size_t entry_len)
{
    uint32_t count = hanse_read_u32(reader);

    if (count == 0 || count > max || count > reader->left.len / entry_len)
        hanse_reader_fail(reader, "impossible count");
    return reader->problem == NULL ? count : 0;
}

/* --- epoch --- */

hanse_rc hanse_secagg_epoch_encode(hanse_buf *out, const hanse_secagg_epoch *epoch, hanse_err *err)
{
    size_t before = out->len;
    hanse_writer writer = hanse_writer_to(out);

    hanse_write_raw(&writer, epoch->site_id, 32);
    hanse_write_u32(&writer, epoch->epoch);
    hanse_write_raw(&writer, epoch->pub, 32);
    hanse_write_u64(&writer, epoch->not_before_ms);
    hanse_write_u64(&writer, epoch->not_after_ms);
    return finish(&writer, before, err);
}

hanse_rc hanse_secagg_epoch_decode(hanse_secagg_epoch *out, hanse_bytes in, hanse_err *err)
{
    hanse_reader reader = hanse_reader_of(in);
    hanse_secagg_epoch epoch = {.epoch = 0};
    hanse_rc rc;

    hanse_read_raw(&reader, epoch.site_id, 32);
    epoch.epoch = hanse_read_u32(&reader);
    hanse_read_raw(&reader, epoch.pub, 32);
    epoch.not_before_ms = hanse_read_u64(&reader);
    epoch.not_after_ms = hanse_read_u64(&reader);
    if (epoch.epoch == 0 || epoch.not_after_ms <= epoch.not_before_ms)
        hanse_reader_fail(&reader, "epoch 0 or empty validity");
    rc = done(&reader, "epoch", err);
    if (rc == HANSE_OK)
        *out = epoch;
    return rc;
}

/* --- ticket --- */

hanse_rc hanse_secagg_ticket_encode(hanse_buf *out, const hanse_secagg_ticket *ticket, hanse_err *err)
{
    size_t before = out->len;
    hanse_writer writer = hanse_writer_to(out);

    if (ticket->holders == 0 || ticket->holders > HANSE_SECAGG_SITES_MAX)
        return HANSE_FAIL(err, HANSE_E_USAGE, "ticket for %u holders", ticket->holders);
    hanse_write_raw(&writer, ticket->run, 16);
    hanse_write_u64(&writer, ticket->slot);
    hanse_write_raw(&writer, ticket->roster_hash, 32);
    hanse_write_raw(&writer, ticket->site_id, 32);
    hanse_write_raw(&writer, ticket->nonce, 16);
    hanse_write_u64(&writer, ticket->expiry_ms);
    hanse_write_raw(&writer, ticket->pk, 32);
    hanse_write_raw(&writer, ticket->share_pub, 32);
    hanse_write_raw(&writer, ticket->c_sk, 32);
    hanse_write_raw(&writer, ticket->c_b, 32);
    hanse_write_raw(&writer, ticket->cts_hash, 32);
    hanse_write_u32(&writer, ticket->holders);
    return finish(&writer, before, err);
}

hanse_rc hanse_secagg_ticket_decode(hanse_secagg_ticket *out, hanse_bytes in, hanse_err *err)
{
    hanse_reader reader = hanse_reader_of(in);
    hanse_secagg_ticket ticket = {.slot = 0};
    hanse_rc rc;

    hanse_read_raw(&reader, ticket.run, 16);
    ticket.slot = hanse_read_u64(&reader);
    hanse_read_raw(&reader, ticket.roster_hash, 32);
    hanse_read_raw(&reader, ticket.site_id, 32);
    hanse_read_raw(&reader, ticket.nonce, 16);
    ticket.expiry_ms = hanse_read_u64(&reader);
    hanse_read_raw(&reader, ticket.pk, 32);
    hanse_read_raw(&reader, ticket.share_pub, 32);
    hanse_read_raw(&reader, ticket.c_sk, 32);
    hanse_read_raw(&reader, ticket.c_b, 32);
    hanse_read_raw(&reader, ticket.cts_hash, 32);
    ticket.holders = hanse_read_u32(&reader);
    if (ticket.holders == 0 || ticket.holders > HANSE_SECAGG_SITES_MAX)
        hanse_reader_fail(&reader, "impossible count");
    rc = done(&reader, "ticket", err);
    if (rc == HANSE_OK)
        *out = ticket;
    return rc;
}

/* --- upload --- */

hanse_rc hanse_secagg_upload_encode(hanse_buf *out, const hanse_secagg_upload *upload, hanse_err *err)
{
    size_t before = out->len;
    hanse_writer writer = hanse_writer_to(out);

    hanse_write_raw(&writer, upload->round_id, 32);
    hanse_write_raw(&writer, upload->run, 16);
    hanse_write_u64(&writer, upload->slot);
    hanse_write_raw(&writer, upload->site_id, 32);
    hanse_write_raw(&writer, upload->nonce, 16);
    hanse_write_u64(&writer, upload->chunks);
    hanse_write_u64(&writer, upload->len);
    hanse_write_raw(&writer, upload->root, 32);
    return finish(&writer, before, err);
}

hanse_rc hanse_secagg_upload_decode(hanse_secagg_upload *out, hanse_bytes in, hanse_err *err)
{
    hanse_reader reader = hanse_reader_of(in);
    hanse_secagg_upload upload = {.slot = 0};
    hanse_rc rc;

    hanse_read_raw(&reader, upload.round_id, 32);
    hanse_read_raw(&reader, upload.run, 16);
    upload.slot = hanse_read_u64(&reader);
    hanse_read_raw(&reader, upload.site_id, 32);
    hanse_read_raw(&reader, upload.nonce, 16);
    upload.chunks = hanse_read_u64(&reader);
    upload.len = hanse_read_u64(&reader);
    hanse_read_raw(&reader, upload.root, 32);
    rc = done(&reader, "upload", err);
    if (rc == HANSE_OK)
        *out = upload;
    return rc;
}

/* --- cut and its signature --- */

hanse_rc hanse_secagg_cut_encode(hanse_buf *out, const hanse_secagg_cut *cut, hanse_err *err)
{
    size_t before = out->len;
    hanse_writer writer = hanse_writer_to(out);
    uint8_t bits = 0;

    if (cut->n == 0 || cut->n > HANSE_SECAGG_SITES_MAX)
        return HANSE_FAIL(err, HANSE_E_USAGE, "cut of %u members", cut->n);
    hanse_write_raw(&writer, cut->round_id, 32);
    hanse_write_raw(&writer, cut->run, 16);
    hanse_write_u64(&writer, cut->slot);
    hanse_write_u32(&writer, cut->n);
    for (uint32_t i = 0; i < cut->n; i++) {
        bits = (uint8_t)(bits | (cut->in[i] != 0 ? 0x80 >> (i % 8) : 0));
        if (i % 8 == 7 || i + 1 == cut->n) {
            hanse_write_u8(&writer, bits);
            bits = 0;
        }
    }
    hanse_write_raw(&writer, cut->uploads_root, 32);
    return finish(&writer, before, err);
}

hanse_rc hanse_secagg_cut_decode(hanse_secagg_cut *out, hanse_bytes in, hanse_err *err)
{
    hanse_reader reader = hanse_reader_of(in);
    hanse_secagg_cut cut = {.slot = 0};
    uint8_t bits = 0;
    hanse_rc rc;

    hanse_read_raw(&reader, cut.round_id, 32);
    hanse_read_raw(&reader, cut.run, 16);
    cut.slot = hanse_read_u64(&reader);
    cut.n = hanse_read_u32(&reader);
    if (cut.n == 0 || cut.n > HANSE_SECAGG_SITES_MAX)
        hanse_reader_fail(&reader, "impossible count");
    if (reader.problem != NULL)
        return done(&reader, "cut", err);
    cut.in = hanse_calloc(cut.n, 1);
    if (cut.in == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for a cut of %u members", cut.n);
    for (uint32_t i = 0; i < cut.n; i++) {
        if (i % 8 == 0)
            bits = hanse_read_u8(&reader);
        cut.in[i] = bits >> 7;
        bits = (uint8_t)(bits << 1);
    }
    if (cut.n % 8 != 0 && bits != 0)
        hanse_reader_fail(&reader, "bits behind the last member");
    hanse_read_raw(&reader, cut.uploads_root, 32);
    rc = done(&reader, "cut", err);
    if (rc == HANSE_OK)
        *out = cut;
    else
        hanse_secagg_cut_clear(&cut);
    return rc;
}

void hanse_secagg_cut_clear(hanse_secagg_cut *cut)
{
    if (cut == NULL)
        return;
    hanse_free(cut->in);
    *cut = (hanse_secagg_cut){.slot = 0};
}

hanse_rc hanse_secagg_cutsig_encode(hanse_buf *out, const hanse_secagg_cutsig *cutsig, hanse_err *err)
{
    size_t before = out->len;
    hanse_writer writer = hanse_writer_to(out);

    hanse_write_raw(&writer, cutsig->round_id, 32);
    hanse_write_raw(&writer, cutsig->cut_hash, 32);
    hanse_write_raw(&writer, cutsig->site_id, 32);
    return finish(&writer, before, err);
}

hanse_rc hanse_secagg_cutsig_decode(hanse_secagg_cutsig *out, hanse_bytes in, hanse_err *err)
{
    hanse_reader reader = hanse_reader_of(in);
    hanse_secagg_cutsig cutsig;
    hanse_rc rc;

    hanse_read_raw(&reader, cutsig.round_id, 32);
    hanse_read_raw(&reader, cutsig.cut_hash, 32);
    hanse_read_raw(&reader, cutsig.site_id, 32);
    rc = done(&reader, "cut signature", err);
    if (rc == HANSE_OK)
        *out = cutsig;
    return rc;
}

/* --- answer --- */

hanse_rc hanse_secagg_answer_encode(hanse_buf *out, const hanse_secagg_answer *answer, hanse_err *err)
{
    size_t before = out->len;
    hanse_writer writer = hanse_writer_to(out);

    if (answer->n == 0 || answer->n > HANSE_SECAGG_SITES_MAX)
        return HANSE_FAIL(err, HANSE_E_USAGE, "answer about %u members", answer->n);
    hanse_write_raw(&writer, answer->round_id, 32);
    hanse_write_raw(&writer, answer->cut_hash, 32);
    hanse_write_raw(&writer, answer->site_id, 32);
    hanse_write_u32(&writer, answer->n);
    for (uint32_t i = 0; i < answer->n; i++) {
        hanse_write_u8(&writer, answer->kinds[i]);
        hanse_write_raw(&writer, answer->shares[i], 32);
    }
    return finish(&writer, before, err);
}

hanse_rc hanse_secagg_answer_decode(hanse_secagg_answer *out, hanse_bytes in, hanse_err *err)
{
    hanse_reader reader = hanse_reader_of(in);
    hanse_secagg_answer answer = {.n = 0};
    hanse_rc rc;

    hanse_read_raw(&reader, answer.round_id, 32);
    hanse_read_raw(&reader, answer.cut_hash, 32);
    hanse_read_raw(&reader, answer.site_id, 32);
    answer.n = read_count(&reader, HANSE_SECAGG_SITES_MAX, 33);
    if (reader.problem != NULL)
        return done(&reader, "answer", err);
    answer.kinds = hanse_calloc(answer.n, 1);
    answer.shares = hanse_calloc(answer.n, sizeof *answer.shares);
    if (answer.kinds == NULL || answer.shares == NULL) {
        hanse_secagg_answer_clear(&answer);
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for an answer about %zu bytes", in.len);
    }
    for (uint32_t i = 0; i < answer.n; i++) {
        uint8_t any = 0;

        answer.kinds[i] = hanse_read_u8(&reader);
        hanse_read_raw(&reader, answer.shares[i], 32);
        for (size_t k = 0; k < 32; k++)
            any |= answer.shares[i][k];
        if (answer.kinds[i] > HANSE_SECAGG_SHARE_SK || (answer.kinds[i] == HANSE_SECAGG_SHARE_NONE && any != 0))
            hanse_reader_fail(&reader, "unknown kind of share");
    }
    rc = done(&reader, "answer", err);
    if (rc == HANSE_OK)
        *out = answer;
    else
        hanse_secagg_answer_clear(&answer);
    return rc;
}

void hanse_secagg_answer_clear(hanse_secagg_answer *answer)
{
    if (answer == NULL)
        return;
    if (answer->shares != NULL)
        hanse_wipe(answer->shares, answer->n * sizeof *answer->shares);
    hanse_free(answer->shares);
    hanse_free(answer->kinds);
    *answer = (hanse_secagg_answer){.n = 0};
}

/* --- dead --- */

hanse_rc hanse_secagg_dead_encode(hanse_buf *out, const hanse_secagg_dead *dead, hanse_err *err)
{
    size_t before = out->len;
    hanse_writer writer = hanse_writer_to(out);

    hanse_write_raw(&writer, dead->run, 16);
    hanse_write_u64(&writer, dead->slot);
    hanse_write_raw(&writer, dead->site_id, 32);
    return finish(&writer, before, err);
}

hanse_rc hanse_secagg_dead_decode(hanse_secagg_dead *out, hanse_bytes in, hanse_err *err)
{
    hanse_reader reader = hanse_reader_of(in);
    hanse_secagg_dead dead;
    hanse_rc rc;

    hanse_read_raw(&reader, dead.run, 16);
    dead.slot = hanse_read_u64(&reader);
    hanse_read_raw(&reader, dead.site_id, 32);
    rc = done(&reader, "dead", err);
    if (rc == HANSE_OK)
        *out = dead;
    return rc;
}
