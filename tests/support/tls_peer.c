#include "tests/support/tls_peer.h"

#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PAGE ((size_t)64 << 10) /* coordinator/server: HANSE_FRAGMENT */

static void need(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "tls_peer: %s failed\n", what);
    abort();
}

static void to_pem(tls_party *p)
{
    need(hanse_cert_to_pem(p->cert, &p->cert_pem, NULL) == HANSE_OK, "certificate to PEM");
    need(hanse_key_to_pem(p->key, &p->key_pem, NULL) == HANSE_OK, "key to PEM");
}

void tls_party_ca(tls_party *ca, const char *name)
{
    need(hanse_ca_new(&ca->key, &ca->cert, name, time(NULL), 5, NULL) == HANSE_OK, "a new CA");
    to_pem(ca);
}

void tls_party_certify(tls_party *p, const tls_party *by, hanse_profile profile)
{
    static const char *const hosts[] = {"localhost", "127.0.0.1"};
    hanse_buf csr = HANSE_BUF_EMPTY;
    hanse_issue issue = {.profile = profile, .organisation = "org", .site = "site", .now = time(NULL), .days = 10};

    if (profile == HANSE_PROFILE_COORDINATOR_TLS) {
        issue.hosts = hosts;
        issue.hosts_count = 2;
    }
    need(hanse_key_new(&p->key, HANSE_KEY_P256, NULL) == HANSE_OK, "a new key");
    need(hanse_csr_new(p->key, &csr, NULL) == HANSE_OK, "a request");
    need(hanse_cert_issue(&p->cert, by->cert, by->key, hanse_buf_bytes(&csr), &issue, NULL) == HANSE_OK, "a certificate");
    to_pem(p);
    hanse_buf_clear(&csr);
}

void tls_party_clear(tls_party *p)
{
    hanse_key_free(p->key);
    hanse_cert_free(p->cert);
    hanse_buf_clear(&p->key_pem);
    hanse_buf_clear(&p->cert_pem);
}

int tls_peer_callback(struct lws *wsi, enum lws_callback_reasons why, void *user, size_t len)
{
    if (why == LWS_CALLBACK_OPENSSL_PERFORM_CLIENT_CERT_VERIFICATION)
        return len == 0; /* OpenSSL's own verdict */
    if (why == LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS) {
        const tls_peer *peer = lws_context_user(lws_get_context(wsi));
        X509_STORE *trust = X509_STORE_new();
        SSL_CTX *ctx = user;

        need(trust != NULL && X509_STORE_add_cert(trust, (X509 *)(uintptr_t)peer->ca->cert) == 1, "trust");
        if (peer->crl != NULL)
            need(X509_STORE_add_crl(trust, (X509_CRL *)(uintptr_t)peer->crl) == 1 &&
                     X509_STORE_set_flags(trust, X509_V_FLAG_CRL_CHECK) == 1, "revocation list");
        SSL_CTX_set_cert_store(ctx, trust);
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
        SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
        need(SSL_CTX_set_num_tickets(ctx, 0) == 1 && SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1, "TLS 1.3");
        need(SSL_CTX_set_ciphersuites(ctx, "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256") == 1, "ciphers");
    }
    return 0;
}

static void write_file(char path[64], const char *dir, const char *name, const hanse_buf *pem)
{
    FILE *file;

    snprintf(path, 64, "%s/%s", dir, name);
    file = fopen(path, "w");
    need(file != NULL && fwrite(pem->data, 1, pem->len, file) == pem->len && fclose(file) == 0, path);
}

void tls_peer_open(tls_peer *peer)
{
    struct lws_context_creation_info info = {0};
    struct lws_vhost *vhost;
    char dir[] = "/tmp/hanse-peer-XXXXXX", cert[64], key[64], root[64];

    need(mkdtemp(dir) != NULL, "a temporary directory");
    write_file(cert, dir, "cert.pem", &peer->as->cert_pem);
    write_file(key, dir, "key.pem", &peer->as->key_pem);
    write_file(root, dir, "ca.pem", &peer->ca->cert_pem);
    lws_set_log_level(0, NULL);
    info.port = CONTEXT_PORT_NO_LISTEN;
    info.options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_EXPLICIT_VHOSTS;
    info.user = peer;
    info.pt_serv_buf_size = PAGE;
    peer->context = lws_create_context(&info);
    need(peer->context != NULL, "lws_create_context");
    info.port = 0;
    info.iface = "127.0.0.1";
    info.protocols = peer->protocols;
    info.options |= LWS_SERVER_OPTION_REQUIRE_VALID_OPENSSL_CLIENT_CERT |
                    (peer->cert_optional ? LWS_SERVER_OPTION_PEER_CERT_NOT_REQUIRED : 0);
    info.ssl_cert_filepath = cert;
    info.ssl_private_key_filepath = key;
    info.ssl_ca_filepath = root;
    info.alpn = "http/1.1";
    info.retry_and_idle_policy = peer->idle.secs_since_valid_ping != 0 ? &peer->idle : NULL;
    vhost = lws_create_vhost(peer->context, &info);
    need(vhost != NULL, "lws_create_vhost");
    peer->port = lws_get_vhost_listen_port(vhost);
    unlink(cert);
    unlink(key);
    unlink(root);
    rmdir(dir);
}

void tls_peer_close(tls_peer *peer)
{
    lws_context_destroy(peer->context);
    peer->context = NULL;
}
