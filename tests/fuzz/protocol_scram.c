/* Both client messages of SCRAM, and the forms of a secret. The first byte chooses the mechanism
 * and TLS; a line feed ends client-first-message. "#" in client-final-message stands for the nonce
 * that the server gave, which a fuzzer could not guess. */
#include "protocol/scram.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char verifier[] = "SCRAM-SHA-256$1:W22ZaJ0SNY7soEsUEjb6gQ==$"
                               "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
                               "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

static bool fixed_random(void *out, size_t length) {
    memset(out, 'n', length);
    return true;
}

/* client-final-message with the server's nonce put in; returns its length. */
static size_t expand(const uint8_t *data, size_t size, const char *server_first, uint8_t *out,
                     size_t room) {
    size_t nonce = strcspn(server_first + 2, ","), length = 0;
    for (size_t i = 0; i < size && length + nonce < room; i++) {
        if (data[i] != '#') {
            out[length++] = data[i];
            continue;
        }
        memcpy(out + length, server_first + 2, nonce);
        length += nonce;
    }
    return length;
}

static void exchange(uint8_t choice, const uint8_t *data, size_t size) {
    static const uint8_t hash[32] = {7};
    char reply[SCRAM_MESSAGE_MAX], final_reply[SCRAM_MESSAGE_MAX];
    uint8_t message[4096];
    struct error error;
    const uint8_t *line = size ? memchr(data, '\n', size) : NULL;
    size_t length = line ? (size_t)(line - data) : size;
    struct scram *scram =
        scram_new("user", verifier, NULL, choice & 1 ? hash : NULL, sizeof hash, fixed_random);
    enum scram_result result = scram_first(
        scram, choice & 2 ? "SCRAM-SHA-256-PLUS" : "SCRAM-SHA-256", data, length, reply, &error);
    if (result == SCRAM_CONTINUE && line) {
        size_t final = expand(line + 1, size - length - 1, reply, message, sizeof message);
        result = scram_final(scram, message, final, final_reply, &error);
        assert(result == SCRAM_FAILED || result == SCRAM_MALFORMED);
    }
    scram_free(scram);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    char *text = malloc(size);
    if (!text)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    assert(!secret_is_scram(text) || !secret_is_md5(text));
    password_matches_md5("user", "secret", (const uint8_t *)"salt", text);
    if (!secret_is_scram(text)) /* its iterations would take the fuzzer's time */
        password_matches_plain("user", text, "secret");
    free(text);
    exchange(data[0], data + 1, size - 1);
    return 0;
}
