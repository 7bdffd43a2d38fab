/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: signatures are those of AWS' published examples, and nothing else is one. Method: requests of
 * the IAM user guide and of the Signature Version 4 test suite (its documented key), each then
 * changed in one place. */
#include "http/sigv4.h"

#include <check.h>
#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "tap_main.h"

#define SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define CREDENTIAL "Credential=AKIDEXAMPLE/20150830/us-east-1/"
#define AUTHORIZATION(service, names, signature)                                                   \
    "AWS4-HMAC-SHA256 " CREDENTIAL service "/aws4_request, SignedHeaders=" names                   \
    ", Signature=" signature
#define NOW 1440938160 /* 20150830T123600Z */

static const struct vector {
    const char *name, *method, *target, *service, *body;
    struct sigv4_header headers[6]; /* Host and X-Amz-Date are added */
    const char *host, *authorization;
} vectors[] = {
    { "iam",
      "GET",
      "/?Action=ListUsers&Version=2010-05-08",
      "iam",
      "",
      { { "Content-Type", "application/x-www-form-urlencoded; charset=utf-8" } },
      "iam.amazonaws.com",
      AUTHORIZATION("iam", "content-type;host;x-amz-date",
                    "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7") },
    { "get-vanilla",
      "GET",
      "/",
      "service",
      "",
      { { NULL, NULL } },
      "example.amazonaws.com",
      AUTHORIZATION("service", "host;x-amz-date",
                    "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31") },
    { "get-vanilla-query-order-key-case",
      "GET",
      "/?Param2=value2&Param1=value1",
      "service",
      "",
      { { NULL, NULL } },
      "example.amazonaws.com",
      AUTHORIZATION("service", "host;x-amz-date",
                    "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500") },
    { "post-vanilla",
      "POST",
      "/",
      "service",
      "",
      { { NULL, NULL } },
      "example.amazonaws.com",
      AUTHORIZATION("service", "host;x-amz-date",
                    "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b") },
    { "get-utf8",
      "GET",
      "/\xe1\x88\xb4",
      "service",
      "",
      { { NULL, NULL } },
      "example.amazonaws.com",
      AUTHORIZATION("service", "host;x-amz-date",
                    "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85") },
    { "get-header-value-trim",
      "GET",
      "/",
      "service",
      "",
      { { "My-Header1", " value1" }, { "My-Header2", " \"a   b   c\"" } },
      "example.amazonaws.com",
      AUTHORIZATION("service", "host;my-header1;my-header2;x-amz-date",
                    "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736") },
    { "get-header-key-duplicate",
      "GET",
      "/",
      "service",
      "",
      { { "My-Header1", "value2" }, { "My-Header1", "value2" }, { "My-Header1", "value1" } },
      "example.amazonaws.com",
      AUTHORIZATION("service", "host;my-header1;x-amz-date",
                    "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea") },
    { "post-x-www-form-urlencoded",
      "POST",
      "/",
      "service",
      "Param1=value1",
      { { "Content-Type", "application/x-www-form-urlencoded" } },
      "example.amazonaws.com",
      AUTHORIZATION("service", "content-type;host;x-amz-date",
                    "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a") },
};

struct asked {
    struct sigv4_request request;
    struct sigv4_header headers[9];
    uint8_t body[SIGV4_SHA256_BYTES];
};

static void ask(struct asked *asked, const struct vector *vector)
{
    const struct sigv4_header own[] = { { "Host", vector->host },
                                        { "X-Amz-Date", "20150830T123600Z" },
                                        { "Authorization", vector->authorization } };
    size_t count = 0;

    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        asked->headers[count++] = own[i];
    for (size_t i = 0; i < ARRAY_LEN(vector->headers) && vector->headers[i].name; i++)
        asked->headers[count++] = vector->headers[i];
    asked->request =
        (struct sigv4_request){ vector->method, vector->target, asked->headers, count };
    ck_assert_int_eq(
        gnutls_hash_fast(GNUTLS_DIG_SHA256, vector->body, strlen(vector->body), asked->body), 0);
}

/* Whether all three steps take it. */
static bool is_taken(const struct asked *asked, const char *service, time_t now)
{
    struct sigv4_claim claim;
    struct err err;

    return sigv4_is_claimed(&asked->request) && sigv4_read(&claim, &asked->request, &err) == 0 &&
           strcmp(claim.key_id, "AKIDEXAMPLE") == 0 &&
           sigv4_check(&claim, &asked->request, service, now, &err) == 0 &&
           sigv4_matches(&claim, &asked->request, SECRET, asked->body);
}

START_TEST(published_examples)
{
    const struct vector *vector = &vectors[_i];
    struct asked asked;

    ask(&asked, vector);
    ck_assert_msg(is_taken(&asked, vector->service, NOW), "%s", vector->name);
    ck_assert(is_taken(&asked, vector->service, NOW + SIGV4_SKEW_S));
    ck_assert(is_taken(&asked, vector->service, NOW - SIGV4_SKEW_S));
    ck_assert(!is_taken(&asked, vector->service, NOW + SIGV4_SKEW_S + 1));
    ck_assert(!is_taken(&asked, vector->service, NOW - SIGV4_SKEW_S - 1));
    ck_assert(!is_taken(&asked, "lambda", NOW));
    asked.request.method = "PUT";
    ck_assert(!is_taken(&asked, vector->service, NOW));
    ask(&asked, vector);
    asked.request.target = "/other";
    ck_assert(!is_taken(&asked, vector->service, NOW));
    ask(&asked, vector);
    asked.body[31] ^= 1;
    ck_assert(!is_taken(&asked, vector->service, NOW));
    for (size_t i = 0; i < asked.request.header_count; i++) {
        ask(&asked, vector);
        asked.headers[i].value = "20150830T123601Z";
        ck_assert_msg(!is_taken(&asked, vector->service, NOW), "%s", asked.headers[i].name);
    }
}
END_TEST

/* A header that says more than was signed. */
START_TEST(what_is_added)
{
    static const struct sigv4_header added[] = {
        { "X-Amz-Invocation-Type", "Event" },
        { "x-amz-target", NULL },
        { "Host", "other" },
        { "X-Amz-Date", "20150830T123600Z" },
        { "Authorization", "Bearer 0" },
        { "X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD" },
    };
    struct asked asked;

    for (size_t i = 0; i < ARRAY_LEN(added); i++) {
        ask(&asked, &vectors[1]);
        asked.headers[asked.request.header_count++] = added[i];
        ck_assert_msg(!is_taken(&asked, "service", NOW), "%s", added[i].name);
    }
    ask(&asked, &vectors[1]);
    asked.headers[asked.request.header_count++] = (struct sigv4_header){ "User-Agent", "any" };
    ck_assert(is_taken(&asked, "service", NOW));
}
END_TEST

/* Each byte of the Authorization header in turn: turned, left out, doubled. */
START_TEST(each_byte_of_the_claim)
{
    const struct vector *vector = &vectors[0];
    const size_t bytes = strlen(vector->authorization);
    char text[512];
    struct asked asked;

    for (size_t i = 0; i < bytes; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            ask(&asked, vector);
            memcpy(text, vector->authorization, bytes + 1);
            text[i] = (char)(text[i] ^ 1 << bit);
            asked.headers[2].value = text;
            ck_assert_msg(!is_taken(&asked, "iam", NOW), "%s", text);
        }
        snprintf(text, sizeof text, "%.*s%s", (int)i, vector->authorization,
                 vector->authorization + i + 1);
        asked.headers[2].value = text;
        ck_assert_msg(vector->authorization[i] == ' ' || !is_taken(&asked, "iam", NOW), "%s", text);
        snprintf(text, sizeof text, "%.*s%s", (int)i + 1, vector->authorization,
                 vector->authorization + i);
        ck_assert_msg(strchr(" ,", vector->authorization[i]) || !is_taken(&asked, "iam", NOW), "%s",
                      text);
    }
}
END_TEST

static const char *const claims[] = {
    "",
    "AWS4-HMAC-SHA256",
    "AWS4-HMAC-SHA256 ",
    "AWS4-HMAC-SHA256 ,,,",
    "AWS4-HMAC-SHA256 Credential=",
    "AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request",
    "AWS4-HMAC-SHA256 Credential=A/20150830/us-east-1/iam/aws4_request, Signature=00",
    "AWS4-HMAC-SHA256 Credential=A/20150830/us-east-1/iam/aws4_request, SignedHeaders=host;host, "
    "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
    "AWS4-HMAC-SHA256 Credential=A/20150830/us-east-1/iam/aws4_request, SignedHeaders=x;host, "
    "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
    "AWS4-HMAC-SHA256 Credential=A/20150830/us-east-1/iam/aws4_request, SignedHeaders=;host, "
    "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
    "AWS4-ECDSA-P256-SHA256 Credential=A/20150830/iam/aws4_request, SignedHeaders=host, "
    "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
};

START_TEST(what_is_no_claim)
{
    struct sigv4_claim claim;
    struct asked asked;
    struct err err;

    ask(&asked, &vectors[0]);
    asked.headers[2].value = claims[_i];
    ck_assert_int_eq(sigv4_read(&claim, &asked.request, &err), -EINVAL);
    ck_assert_uint_gt(strlen(err.msg), 10);
}
END_TEST

static const char *const stamps[] = { "20150830T123600",  "20150830 123600Z", "20151330T123600Z",
                                      "2015083xT123600Z", "20150831T123600Z", "20150830T1236-0Z",
                                      "20150830T123600z" };

START_TEST(what_is_no_time)
{
    struct asked asked;

    ask(&asked, &vectors[0]);
    asked.headers[1].value = stamps[_i];
    ck_assert(!is_taken(&asked, "iam", NOW));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sigv4");
    TCase *tcase = tap_case(suite, "sigv4");

    tcase_add_loop_test(tcase, published_examples, 0, ARRAY_LEN(vectors));
    tcase_add_test(tcase, what_is_added);
    tcase_add_test(tcase, each_byte_of_the_claim);
    tcase_add_loop_test(tcase, what_is_no_claim, 0, ARRAY_LEN(claims));
    tcase_add_loop_test(tcase, what_is_no_time, 0, ARRAY_LEN(stamps));
    return tap_main(suite);
}
