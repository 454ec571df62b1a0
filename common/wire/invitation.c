#include "hanse/invitation.h"

#include "hanse/config.h"

/* The file as it is written: hashes are hex there. */
typedef struct text_form {
    hanse_invitation plain;
    char ca_hex[512], token_hex[512]; /* roomy: one that is too long gets our words, the parser's would quote it */
} text_form;

static const hanse_config_field fields[] = {
    {.key = "consortium", .kind = HANSE_CONFIG_NAME, .required = true, HANSE_CONFIG_AT(text_form, plain.consortium)},
    {.key = "organisation", .kind = HANSE_CONFIG_NAME, .required = true, HANSE_CONFIG_AT(text_form, plain.organisation)},
    {.key = "site", .kind = HANSE_CONFIG_NAME, .required = true, HANSE_CONFIG_AT(text_form, plain.site)},
    {.key = "coordinator", .kind = HANSE_CONFIG_STRING, .required = true, HANSE_CONFIG_AT(text_form, plain.coordinator)},
    {.key = "server_name", .kind = HANSE_CONFIG_STRING, HANSE_CONFIG_AT(text_form, plain.server_name)},
    {.key = "ca_sha256", .kind = HANSE_CONFIG_STRING, .required = true, HANSE_CONFIG_AT(text_form, ca_hex)},
    {.key = "token", .kind = HANSE_CONFIG_STRING, .required = true, HANSE_CONFIG_AT(text_form, token_hex)},
    {.key = NULL}};

hanse_rc hanse_invitation_encode(hanse_buf *out, const hanse_invitation *invitation, hanse_err *err)
{
    char ca_hex[65], token_hex[65];
    hanse_rc rc;

    hanse_hex_encode(ca_hex, invitation->ca_sha256, 32);
    hanse_hex_encode(token_hex, invitation->token, 32);
    rc = hanse_buf_printf(out, err,
                          "# Invitation: whoever holds this file may enrol as this site, once. Use: hanse-node enrol FILE --dir DIR\n"
                          "consortium: \"%s\"\norganisation: \"%s\"\nsite: \"%s\"\ncoordinator: \"%s\"\n%s%s%sca_sha256: \"%s\"\ntoken: \"%s\"\n",
                          invitation->consortium, invitation->organisation, invitation->site, invitation->coordinator,
                          invitation->server_name[0] ? "server_name: \"" : "", invitation->server_name,
                          invitation->server_name[0] ? "\"\n" : "", ca_hex, token_hex);
    hanse_wipe(token_hex, sizeof token_hex);
    return rc;
}

hanse_rc hanse_invitation_decode(hanse_invitation *out, hanse_bytes text, const char *origin, hanse_err *err)
{
    text_form form = {0};
    hanse_rc rc = hanse_config_parse(fields, &form, sizeof form, text, origin, NULL, err);

    if (rc == HANSE_OK && (hanse_hex_decode(form.plain.ca_sha256, 32, form.ca_hex, NULL) != HANSE_OK ||
                           hanse_hex_decode(form.plain.token, 32, form.token_hex, NULL) != HANSE_OK))
        rc = HANSE_FAIL(err, HANSE_E_INVALID, "%s: ca_sha256 and token must be 64 hex digits each: ask for a new invitation", origin);
    if (rc == HANSE_OK)
        *out = form.plain;
    hanse_wipe(&form, sizeof form);
    return rc;
}
