/* Keys that a member chose: signed, and good for nothing, they would stop everybody's rounds. */
#include "hanse/hpke.h"
#include "hanse/secagg_object.h"

static hanse_rc check_order(const uint8_t pub[32], const char *what, hanse_err *err)
{
    static const uint8_t any[32] = {1};   /* a multiple of the cofactor once it is clamped: RFC 7748 section 5 */
    static const uint8_t point[32] = {9}; /* stands for its public half, which has no part in this and need not be computed */
    uint8_t shared[32];
    hanse_rc rc = hanse_x25519(shared, (hanse_x25519_pair){any, point}, pub, err);

    return rc == HANSE_E_AUTH ? HANSE_SECAGG_FAIL(err, LOWORDER, "%s is of low order", what) : rc;
}

hanse_rc hanse_secagg_epoch_check_key(const hanse_secagg_epoch *epoch, hanse_err *err)
{
    return check_order(epoch->pub, "the key of an epoch", err);
}

hanse_rc hanse_secagg_ticket_check_keys(const hanse_secagg_ticket *ticket, hanse_err *err)
{
    hanse_rc rc;

    if (memcmp(ticket->pk, ticket->share_pub, 32) == 0) /* public */
        return HANSE_SECAGG_FAIL(err, DUPKEY, "a ticket of slot %llu has one key twice", (unsigned long long)ticket->slot);
    rc = check_order(ticket->pk, "the pair key of a ticket", err);
    return rc == HANSE_OK ? check_order(ticket->share_pub, "the share key of a ticket", err) : rc;
}
