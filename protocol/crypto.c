#include "protocol/crypto.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <sys/auxv.h>

bool crypto_hmac(const uint8_t key[CRYPTO_KEY], const void *data, size_t length,
                 uint8_t out[CRYPTO_KEY]) {
    return HMAC(EVP_sha256(), key, CRYPTO_KEY, data, length, out, NULL) != NULL;
}

bool crypto_sha256(const void *data, size_t length, uint8_t out[CRYPTO_KEY]) {
    return EVP_Digest(data, length, out, NULL, EVP_sha256(), NULL) == 1;
}

bool crypto_salted_password(const char *password, const uint8_t *salt, size_t salt_length,
                            unsigned iterations, uint8_t out[CRYPTO_KEY]) {
    size_t length = strlen(password);
    if (length > INT_MAX || salt_length > INT_MAX || iterations > INT_MAX)
        return false;
    return PKCS5_PBKDF2_HMAC(password, (int)length, salt, (int)salt_length, (int)iterations,
                             EVP_sha256(), CRYPTO_KEY, out) == 1;
}

bool crypto_md5(const char *text, const void *tail, size_t tail_length, char out[CRYPTO_MD5_TEXT]) {
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done = context && EVP_DigestInit_ex(context, EVP_md5(), NULL) == 1 &&
                EVP_DigestUpdate(context, text, strlen(text)) == 1 &&
                EVP_DigestUpdate(context, tail, tail_length) == 1 &&
                EVP_DigestFinal_ex(context, digest, NULL) == 1;
    EVP_MD_CTX_free(context);
    if (!done)
        return false;
    for (size_t i = 0; i < CRYPTO_MD5_TEXT / 2; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    out[CRYPTO_MD5_TEXT - 1] = '\0';
    OPENSSL_cleanse(digest, sizeof digest);
    return true;
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool crypto_base64_encode(const uint8_t *data, size_t length, char *out, size_t size) {
    if (length > (SIZE_MAX - 1) / 4 || size < (length + 2) / 3 * 4 + 1)
        return false;
    for (size_t i = 0; i < length; i += 3) {
        size_t left = length - i;
        uint32_t group = (uint32_t)data[i] << 16 | (left > 1 ? (uint32_t)data[i + 1] << 8 : 0) |
                         (left > 2 ? data[i + 2] : 0);
        *out++ = base64_digits[group >> 18];
        *out++ = base64_digits[group >> 12 & 63];
        *out++ = left > 1 ? base64_digits[group >> 6 & 63] : '=';
        *out++ = left > 2 ? base64_digits[group & 63] : '=';
    }
    *out = '\0';
    return true;
}

static bool base64_value(char digit, uint32_t *out) {
    const char *at = digit ? strchr(base64_digits, digit) : NULL;
    if (!at)
        return false;
    *out = (uint32_t)(at - base64_digits);
    return true;
}

bool crypto_base64_decode(const char *text, size_t text_length, uint8_t *out, size_t size,
                          size_t *length) {
    if (text_length % 4 != 0)
        return false;
    size_t padding = 0;
    while (padding < 2 && padding < text_length && text[text_length - 1 - padding] == '=')
        padding++;
    size_t decoded = text_length / 4 * 3 - padding;
    if (decoded > size)
        return false;
    for (size_t i = 0, o = 0; i < text_length; i += 4) {
        uint32_t group = 0;
        for (size_t j = i; j < i + 4; j++) {
            uint32_t value = 0;
            if (j < text_length - padding && !base64_value(text[j], &value))
                return false;
            group = group << 6 | value;
        }
        for (unsigned shift = 24; shift > 0 && o < decoded; o++) {
            shift -= 8;
            out[o] = (uint8_t)(group >> shift);
            group &= (1u << shift) - 1;
        }
        if (i + 4 == text_length && group != 0)
            return false; /* bits that belong to no byte */
    }
    *length = decoded;
    return true;
}

bool crypto_process_key(uint8_t out[CRYPTO_KEY]) {
    static const char purpose[] = "pginterlock SCRAM salts";
    /* The kernel gives each process 16 random bytes at exec; using them keeps a key for the life of
     * the process without a global. The C library's stack canary comes from them too, hence only a
     * keyed hash of them is used. */
    const void *seed = (const void *)getauxval(AT_RANDOM); // NOLINT(performance-no-int-to-ptr)
    uint8_t key[CRYPTO_KEY] = {0};
    if (!seed)
        return false;
    memcpy(key, seed, 16);
    bool done = crypto_hmac(key, purpose, sizeof purpose, out);
    OPENSSL_cleanse(key, sizeof key);
    return done;
}
