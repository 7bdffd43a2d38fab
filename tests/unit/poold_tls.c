/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: by TLS, callers are served as without it; clients that mean harm, or nothing, cost others
 * nothing and end in time; certificates are replaced under connections that are open. Method:
 * remote_lab.h with certificates made here; curl, and GnuTLS' client. argv: POOLD FAKE_VMM. */
#include <check.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "remote_lab.h"
#include "tap_main.h"

#define PEM_BYTES 8192
#define REQUEST(path)                                                                              \
    "POST " INVOKE path " HTTP/1.1\r\nHost: x\r\n" BEARER(TOKEN) "Content-Length: 0\r\n\r\n"

/* ---- Certificates ---- */

static void file_write(const char *name, const char *data, size_t bytes, mode_t mode)
{
    char path[256];

    daemon_path(name, path);
    FILE *out = fopen(path, "we");
    ck_assert_ptr_nonnull(out);
    ck_assert_uint_eq(fwrite(data, 1, bytes, out), bytes);
    fclose(out);
    ck_assert_int_eq(chmod(path, mode), 0);
}

/* One for 127.0.0.1 that it has signed itself, with this serial number, in the files `cert` and `key`. */
static void certificate_make(uint8_t serial)
{
    static const uint8_t address[] = { 127, 0, 0, 1 };
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t cert;
    char pem[PEM_BYTES];
    size_t bytes = sizeof pem;

    gnutls_x509_privkey_init(&key);
    gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
                                 GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
    gnutls_x509_crt_init(&cert);
    gnutls_x509_crt_set_version(cert, 3);
    gnutls_x509_crt_set_serial(cert, &serial, 1);
    gnutls_x509_crt_set_dn(cert, "CN=volt", NULL);
    gnutls_x509_crt_set_activation_time(cert, time(NULL) - 60);
    gnutls_x509_crt_set_expiration_time(cert, time(NULL) + 86400);
    gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_IPADDRESS, address, sizeof address, 0);
    gnutls_x509_crt_set_basic_constraints(cert, 1, -1);
    gnutls_x509_crt_set_key(cert, key);
    ck_assert_int_eq(gnutls_x509_crt_sign2(cert, cert, key, GNUTLS_DIG_SHA256, 0), 0);
    ck_assert_int_eq(gnutls_x509_crt_export(cert, GNUTLS_X509_FMT_PEM, pem, &bytes), 0);
    file_write("cert", pem, bytes, 0644);
    bytes = sizeof pem;
    ck_assert_int_eq(gnutls_x509_privkey_export(key, GNUTLS_X509_FMT_PEM, pem, &bytes), 0);
    file_write("key", pem, bytes, 0600);
    gnutls_x509_crt_deinit(cert);
    gnutls_x509_privkey_deinit(key);
}

static void listen_tls(const char *more)
{
    char cert[256], key[256], options[1024];

    certificate_make(1);
    daemon_path("cert", cert);
    daemon_path("key", key);
    snprintf(options, sizeof options, " --listen-cert %s --listen-key %s%s", cert, key, more);
    listen_with(options);
}

/* ---- Clients ---- */

struct client_tls {
    int fd;
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
};

/* -1: it came to no handshake. */
static int tls_try(struct client_tls *client, const char *from, const char *priorities)
{
    int rc;

    client->fd = tcp_connect_from(from);
    gnutls_certificate_allocate_credentials(&client->credentials);
    gnutls_init(&client->session, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL);
    gnutls_priority_set_direct(client->session, priorities, NULL);
    gnutls_credentials_set(client->session, GNUTLS_CRD_CERTIFICATE, client->credentials);
    gnutls_handshake_set_timeout(client->session, CLIENT_WAIT_MS);
    gnutls_transport_set_int(client->session, client->fd);
    do {
        rc = gnutls_handshake(client->session);
    } while (rc < 0 && !gnutls_error_is_fatal(rc));
    return rc < 0 ? -1 : 0;
}

static void tls_connect(struct client_tls *client)
{
    ck_assert_int_eq(tls_try(client, "127.0.0.1", "NORMAL"), 0);
}

static void tls_close(struct client_tls *client)
{
    gnutls_deinit(client->session);
    gnutls_certificate_free_credentials(client->credentials);
    close(client->fd);
}

/* The status of the answer, whose end is a NUL-terminated body of few bytes; 0: the connection is over. */
static unsigned tls_ask(struct client_tls *client, const char *request)
{
    size_t used = 0;
    ssize_t n;

    if (gnutls_record_send(client->session, request, strlen(request)) < 0)
        return 0;
    do {
        n = gnutls_record_recv(client->session, remote_answer + used,
                               sizeof remote_answer - 1 - used);
        if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED)
            continue;
        if (n <= 0)
            return 0;
        used += (size_t)n;
        remote_answer[used] = '\0';
    } while (!strstr(remote_answer, "\r\n\r\n"));
    return (unsigned)atoi(remote_answer + strlen("HTTP/1.1 "));
}

static uint8_t serial_of(const struct client_tls *client)
{
    unsigned count = 0;
    const gnutls_datum_t *peers = gnutls_certificate_get_peers(client->session, &count);
    gnutls_x509_crt_t cert;
    uint8_t serial = 0;
    size_t bytes = 1;

    ck_assert_uint_eq(count, 1);
    gnutls_x509_crt_init(&cert);
    ck_assert_int_eq(gnutls_x509_crt_import(cert, peers, GNUTLS_X509_FMT_DER), 0);
    ck_assert_int_eq(gnutls_x509_crt_get_serial(cert, &serial, &bytes), 0);
    gnutls_x509_crt_deinit(cert);
    return serial;
}

/* curl's answer: status, or what it ended with. */
static int curl_ends(const char *scheme, const char *arguments, unsigned *ret_status)
{
    char command[1024], line[64] = "";

    snprintf(command, sizeof command,
             "curl -s -m 60 -o /dev/null -w '%%{http_code}' --cacert %s/cert %s "
             "'%s://127.0.0.1:%u/v1/functions/f/invoke?path=%%2Fok'",
             daemon_dir, arguments, scheme, remote_port);
    FILE *in = popen(command, "re");
    ck_assert_ptr_nonnull(fgets(line, sizeof line, in));
    const int rc = pclose(in);
    *ret_status = (unsigned)atoi(line);
    return WEXITSTATUS(rc);
}

static void curl_expect(unsigned expected, const char *arguments)
{
    unsigned status;
    const int rc = curl_ends("https", arguments, &status);

    ck_assert_msg(rc == 0 && status == expected, "%s: curl %d, %u", arguments, rc, status);
}

/* Sends, and waits until poold hangs up. */
static void expect_hang_up(int fd, const char *data, size_t bytes)
{
    send(fd, data, bytes, MSG_NOSIGNAL);
    client_await_end(fd, NULL, 0);
}

/* ---- Tests ---- */

#define AS_CI "-H 'Authorization: Bearer " TOKEN "' -d {}"

START_TEST(callers_are_served)
{
    unsigned status;

    listen_tls("");
    curl_expect(200, AS_CI);
    curl_expect(200, AS_CI " --tlsv1.3");
    curl_expect(200, AS_CI " --tls-max 1.2");
    curl_expect(401, "-d {}");
    curl_expect(200, "-d {} --aws-sigv4 aws:amz:local:lambda --user " KEY ":" SECRET);
    curl_expect(401, "-d {} --aws-sigv4 aws:amz:local:lambda --user " KEY ":" SECRET "x");
    ck_assert_int_ne(curl_ends("https", AS_CI " --tls-max 1.1", &status), 0);
    ck_assert_int_ne(curl_ends("http", AS_CI, &status), 0);
    ck_assert_uint_eq(status, 0);
    ck_assert_int_eq(calls(), 4);
}
END_TEST

static const struct harm {
    const char *data;
    size_t bytes;
} harms[] = {
    { "GET / HTTP/1.1\r\n\r\n", 18 },
    { "\x16\x03\x01\xff\xff", 5 },
    { "\x17\x03\x03\x00\x01x", 6 },
    { "\x15\x03\x01\x00\x02\x02\x28", 7 },
    { "\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10", 11 },
    { "\x16\x03\x01\x00\x05\x01\xff\xff\xff\x03", 10 },
    { "\x16\x03\x01\x00\x00\x16\x03\x01\x00\x00\x16\x03\x01\x00\x00", 15 },
};

/* Before the handshake, and in the middle of a session. */
START_TEST(what_is_no_record_is_the_end)
{
    struct client_tls client;

    listen_tls(" --request-timeout-ms 1000");
    for (size_t i = 0; i < ARRAY_LEN(harms); i++) {
        const int fd = tcp_connect_from("127.0.0.1");

        expect_hang_up(fd, harms[i].data, harms[i].bytes);
        close(fd);
        tls_connect(&client);
        ck_assert_uint_eq(tls_ask(&client, REQUEST("ok")), 200);
        expect_hang_up(client.fd, harms[i].data, harms[i].bytes);
        tls_close(&client);
    }
    curl_expect(200, AS_CI);
}
END_TEST

START_TEST(no_renegotiation)
{
    struct client_tls client;

    listen_tls("");
    ck_assert_int_eq(tls_try(&client, "127.0.0.1", "NORMAL:-VERS-ALL:+VERS-TLS1.2"), 0);
    ck_assert_uint_eq(tls_ask(&client, REQUEST("ok")), 200);
    ck_assert_int_lt(gnutls_handshake(client.session), 0);
    ck_assert_uint_eq(tls_ask(&client, REQUEST("ok")), 0);
    tls_close(&client);
    ck_assert_int_eq(tls_try(&client, "127.0.0.1", "NORMAL:-VERS-ALL:+VERS-TLS1.1:+VERS-TLS1.0"),
                     -1);
    tls_close(&client);
    curl_expect(200, AS_CI);
}
END_TEST

/* Who says nothing, drips a handshake, has one and then says nothing: from one address. */
START_TEST(silent_clients_cost_nobody_else)
{
    enum { count = 900, sessions = 8 };
    static struct client_tls clients[sessions];
    static int fds[count];

    listen_tls(" --request-timeout-ms 3000");
    for (unsigned i = 0; i < sessions; i++)
        ck_assert_int_eq(tls_try(&clients[i], "127.0.0.4", "NORMAL"), 0);
    for (unsigned i = 0; i < count; i++) {
        fds[i] = tcp_connect_from("127.0.0.3");
        if (i % 2)
            send(fds[i], "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11, MSG_NOSIGNAL);
    }
    curl_expect(200, AS_CI " --interface 127.0.0.2");
    client_expect(200, "GET", "/v1/status", NULL);
    await_ends(fds, count, 4);
    for (unsigned i = 0; i < sessions; i++) {
        client_await_end(clients[i].fd, NULL, 0);
        tls_close(&clients[i]);
    }
    curl_expect(200, AS_CI " --interface 127.0.0.3");
}
END_TEST

/* In the middle of a request, of an answer, without a word: what was under way ends. */
START_TEST(clients_that_leave)
{
    struct client_tls client;

    listen_tls("");
    for (unsigned i = 0; i < 12; i++) {
        tls_connect(&client);
        if (i % 3 == 1)
            gnutls_record_send(client.session, REQUEST("hang"), strlen(REQUEST("hang")) - i % 2);
        if (i % 3 == 2)
            gnutls_bye(client.session, GNUTLS_SHUT_WR);
        tls_close(&client);
    }
    for (unsigned i = 0; i < CLIENT_LOOKS; i++) {
        json_t *function = client_json("GET", "/v1/functions/f", NULL);
        const json_int_t on = json_integer_value(json_object_get(function, "on")) +
                              json_integer_value(json_object_get(function, "queued"));

        json_decref(function);
        if (on == 0)
            break;
        ck_assert_uint_lt(i, CLIENT_LOOKS - 1);
        usleep(CLIENT_LOOK_US);
    }
    curl_expect(200, AS_CI);
    /* A call under way, and a session that is idle, when poold ends: it ends in good order. */
    tls_connect(&client);
    gnutls_record_send(client.session, REQUEST("hang"), strlen(REQUEST("hang")));
    daemon_restart("--log-level debug");
    tls_close(&client);
}
END_TEST

START_TEST(certificates_are_replaced)
{
    struct client_tls old, fresh;

    listen_tls("");
    tls_connect(&old);
    ck_assert_uint_eq(serial_of(&old), 1);
    file_write("cert", "no certificate", 14, 0644);
    client_expect(400, "POST", "/v1/reload", NULL);
    tls_connect(&fresh);
    ck_assert_uint_eq(serial_of(&fresh), 1);
    tls_close(&fresh);
    certificate_make(2);
    client_expect(200, "POST", "/v1/reload", NULL);
    for (unsigned i = 0; i < CLIENT_LOOKS; i++) { /* the door hears of it a moment later */
        tls_connect(&fresh);
        if (serial_of(&fresh) == 2)
            break;
        tls_close(&fresh);
        usleep(CLIENT_LOOK_US);
    }
    ck_assert_uint_eq(serial_of(&fresh), 2);
    ck_assert_uint_eq(tls_ask(&fresh, REQUEST("ok")), 200);
    ck_assert_uint_eq(tls_ask(&old, REQUEST("ok")), 200);
    tls_close(&fresh);
    tls_close(&old);
}
END_TEST

/* Asks on and on, and reads no answer. */
START_TEST(who_does_not_read_is_closed)
{
    static const char request[] =
        "POST " INVOKE " HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    const struct timeval wait = { .tv_usec = CLIENT_LOOK_US };
    const int room = 4096;
    struct client_tls client;
    unsigned looks = 0;
    ssize_t n;

    listen_tls(" --transfer-timeout-ms 1000");
    tls_connect(&client);
    setsockopt(client.fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    setsockopt(client.fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    do {
        n = gnutls_record_send(client.session, request, strlen(request));
        looks += n == GNUTLS_E_AGAIN;
    } while ((n > 0 || n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED) &&
             looks < CLIENT_LOOKS / 2);
    ck_assert_uint_lt(looks, CLIENT_LOOKS / 2);
    tls_close(&client);
    curl_expect(200, AS_CI);
}
END_TEST

static void files_say(const char *more, int status, const char *says)
{
    char options[1024];

    snprintf(options, sizeof options, "--listen 0.0.0.0:0 --listen-callers %s/callers %s",
             daemon_dir, more);
    check_says(options, status, says);
}

START_TEST(files_that_are_wrong)
{
    char both[600], path[256], pem[PEM_BYTES];

    callers_write(remote_callers, 0600);
    certificate_make(1);
    snprintf(both, sizeof both, "--listen-cert %s/cert --listen-key %s/key", daemon_dir,
             daemon_dir);
    files_say(both, EX_OK, "no fault");
    files_say("", EX_USAGE, "listen-plain allows it");
    files_say("--listen-cert /dev/null", EX_USAGE, "need each other");
    check_says("--listen-cert /dev/null", EX_USAGE, "need each other"); /* without listen, too */
    daemon_path("key", path);
    ck_assert_int_eq(chmod(path, 0604), 0);
    files_say(both, EX_CONFIG, "chmod 0600");
    ck_assert_int_eq(chmod(path, 0640), 0);
    files_say(both, EX_OK, "no fault");
    FILE *in = fopen(path, "re");
    const size_t bytes = fread(pem, 1, sizeof pem, in);
    fclose(in);
    certificate_make(2);
    file_write("key", pem, bytes, 0600); /* another's */
    files_say(both, EX_CONFIG, "no certificate and its key");
    file_write("key", "", 0, 0600);
    files_say(both, EX_CONFIG, "no certificate and its key");
}
END_TEST

int main(int argc, char **argv)
{
    const TTest *const tests[] = {
        callers_are_served,        what_is_no_record_is_the_end,
        no_renegotiation,          silent_clients_cost_nobody_else,
        clients_that_leave,        who_does_not_read_is_closed,
        certificates_are_replaced, files_that_are_wrong,
    };
    Suite *suite = suite_create("poold-tls");
    TCase *tcase = daemon_case(suite, argc, argv);

    for (unsigned i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(tcase, tests[i]);
    return tap_main(suite);
}
