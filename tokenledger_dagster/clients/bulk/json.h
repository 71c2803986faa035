/* JSON text walked in place: where a value ends, and whether all of it is well formed.
 *
 * Here: strings, numbers and nesting, each as strict as msgspec's decoder or stricter, so that a line that is accepted
 * here would be accepted there with the same values.  Not here: what a key means (claude.c, codex.c).
 *
 * Every function takes the first byte and the end of the line, and returns the byte after what it read, or NULL: the
 * line is then not one that this reader vouches for, whatever else it may be.
 */
#ifndef TOKENLEDGER_JSON_H
#define TOKENLEDGER_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

typedef unsigned char byte;

enum { DEEPEST = 100 }; /* nesting; deeper rows are for the careful reader */

/* What stands in the place of a value that may be text. */
typedef struct {
    const byte *at; /* first byte within the quotes; NULL where there is no text */
    size_t size;
    bool is_odd;    /* not printable ASCII alone, or with escapes */
} Text;

static inline const byte *after_space(const byte *at, const byte *end) {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n')) at++;
    return at;
}

static inline bool is_digit(byte one) { return one >= '0' && one <= '9'; }

static inline bool is_hex(byte one) {
    return is_digit(one) || (one >= 'a' && one <= 'f') || (one >= 'A' && one <= 'F');
}

/* The next quote, backslash or control character; `end` where there is none. */
static inline const byte *next_special(const byte *at, const byte *end) {
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), control = _mm_set1_epi8(0x1f);
    while (end - at >= 16) {
        __m128i found = _mm_loadu_si128((const __m128i *)at);
        __m128i special = _mm_or_si128(
            _mm_or_si128(_mm_cmpeq_epi8(found, quote), _mm_cmpeq_epi8(found, slash)),
            _mm_cmpeq_epi8(_mm_min_epu8(found, control), found));
        int mask = _mm_movemask_epi8(special);
        if (mask) return at + __builtin_ctz((unsigned)mask);
        at += 16;
    }
#endif
    while (at < end && *at != '"' && *at != '\\' && *at >= 0x20) at++;
    return at;
}

/* A string whose opening quote is at `at`. Escapes of surrogates are left to others. */
static inline const byte *after_string(const byte *at, const byte *end, bool *has_escapes) {
    at++;
    for (;;) {
        at = next_special(at, end);
        if (at == end || *at < 0x20) return NULL;
        if (*at == '"') return at + 1;
        *has_escapes = true;
        if (end - at < 2) return NULL;
        switch (at[1]) {
        case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't':
            at += 2;
            break;
        case 'u':
            if (end - at < 6 || !is_hex(at[2]) || !is_hex(at[3]) || !is_hex(at[4]) || !is_hex(at[5])) return NULL;
            if ((at[2] | 0x20) == 'd' && !(at[3] >= '0' && at[3] <= '7')) return NULL;
            at += 6;
            break;
        default:
            return NULL;
        }
    }
}

static inline const byte *after_number(const byte *at, const byte *end) {
    if (at < end && *at == '-') at++;
    if (at == end) return NULL;
    if (*at == '0') at++;
    else if (is_digit(*at)) while (at < end && is_digit(*at)) at++;
    else return NULL;
    if (at < end && is_digit(*at)) return NULL;
    if (at < end && *at == '.') {
        const byte *first = ++at;
        while (at < end && is_digit(*at)) at++;
        if (at == first) return NULL;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-')) at++;
        const byte *first = at;
        while (at < end && is_digit(*at)) at++;
        if (at == first) return NULL;
    }
    return at;
}

static inline const byte *after_word(const byte *at, const byte *end, const char *word, size_t size) {
    return (size_t)(end - at) >= size && !memcmp(at, word, size) ? at + size : NULL;
}

static inline const byte *after_null(const byte *at, const byte *end) { return after_word(at, end, "null", 4); }

static inline bool is_null(const byte *at, const byte *end) { return at < end && *at == 'n'; }

/* Any value.  The nesting is kept in bits, one for each level: set for an object. */
static inline const byte *after_value(const byte *at, const byte *end) {
    uint64_t kinds[DEEPEST / 64 + 1] = {0};
    int depth = 0;
    bool escapes;
    for (;;) {
        at = after_space(at, end); /* a value stands here */
        if (at == end) return NULL;
        switch (*at) {
        case '"':
            if (!(at = after_string(at, end, &escapes))) return NULL;
            break;
        case '{':
        case '[': {
            bool is_object = *at == '{';
            if (depth == DEEPEST) return NULL;
            at = after_space(at + 1, end);
            if (at == end) return NULL;
            if (*at == (is_object ? '}' : ']')) {
                at++;
                break;
            }
            uint64_t bit = (uint64_t)1 << (depth & 63);
            if (is_object) kinds[depth >> 6] |= bit;
            else kinds[depth >> 6] &= ~bit;
            depth++;
            if (is_object) goto key;
            continue;
        }
        case 'n':
            if (!(at = after_null(at, end))) return NULL;
            break;
        case 't':
            if (!(at = after_word(at, end, "true", 4))) return NULL;
            break;
        case 'f':
            if (!(at = after_word(at, end, "false", 5))) return NULL;
            break;
        default:
            if (!(at = after_number(at, end))) return NULL;
        }
        for (;;) { /* a value has ended */
            if (!depth) return at;
            at = after_space(at, end);
            if (at == end) return NULL;
            bool in_object = kinds[(depth - 1) >> 6] >> ((depth - 1) & 63) & 1;
            if (*at == ',') {
                at = after_space(at + 1, end);
                if (in_object) goto key;
                break;
            }
            if (*at != (in_object ? '}' : ']')) return NULL;
            at++;
            depth--;
        }
        continue;
    key:
        if (at == end || *at != '"' || !(at = after_string(at, end, &escapes))) return NULL;
        at = after_space(at, end);
        if (at == end || *at != ':') return NULL;
        at++;
    }
}

/* A string or null, into a Text. */
static inline const byte *read_text(const byte *at, const byte *end, void *to) {
    Text *text = to;
    *text = (Text){0};
    if (is_null(at, end)) return after_null(at, end);
    if (at == end || *at != '"') return NULL;
    const byte *after = after_string(at, end, &text->is_odd);
    if (!after) return NULL;
    text->at = at + 1;
    text->size = (size_t)(after - at - 2);
    for (const byte *one = text->at; !text->is_odd && one < after - 1; one++) text->is_odd = *one >= 0x7f;
    return after;
}

static inline bool text_is(const Text *text, const char *word) {
    size_t size = strlen(word);
    return text->at && text->size == size && !memcmp(text->at, word, size);
}

static inline bool same_text(const Text *one, const Text *other) {
    if (!one->at || !other->at) return !one->at && !other->at;
    return one->size == other->size && !memcmp(one->at, other->at, one->size);
}

enum { NO_COUNT = -1 };
#define MOST_TOKENS INT64_C(10000000000)

/* A counter, into an int64_t: a plain whole number that is not too large, or null. */
static inline const byte *read_count(const byte *at, const byte *end, void *to) {
    int64_t *count = to;
    *count = NO_COUNT;
    if (is_null(at, end)) return after_null(at, end);
    const byte *first = at;
    int64_t found = 0;
    while (at < end && is_digit(*at) && at - first < 12) found = found * 10 + (*at++ - '0');
    if (at == first || (*first == '0' && at - first > 1) || found > MOST_TOKENS) return NULL;
    if (at == end || is_digit(*at) || *at == '.' || *at == 'e' || *at == 'E') return NULL;
    *count = found;
    return at;
}

/* Walking an object: `next_key` finds each key and leaves `at` on its value.  Keys with escapes are not vouched for. */
typedef struct {
    const byte *at, *end;
    const byte *key;
    size_t size;
    bool is_first, is_bad;
} Walk;

static inline bool begin_object(Walk *walk, const byte *at, const byte *end) {
    *walk = (Walk){.at = at + 1, .end = end, .is_first = true};
    return at < end && *at == '{';
}

/* False at the end of the object, with `at` behind it, and where it is malformed, with `is_bad`. */
static inline bool next_key(Walk *walk) {
    const byte *at = after_space(walk->at, walk->end), *end = walk->end;
    walk->is_bad = true;
    if (at == end) return false;
    if (*at == '}') {
        walk->is_bad = false;
        walk->at = at + 1;
        return false;
    }
    if (!walk->is_first) {
        if (*at != ',') return false;
        at = after_space(at + 1, end);
    }
    walk->is_first = false;
    bool has_escapes = false;
    if (at == end || *at != '"') return false;
    const byte *after = after_string(at, end, &has_escapes);
    if (!after || has_escapes) return false;
    walk->key = at + 1;
    walk->size = (size_t)(after - at - 2);
    after = after_space(after, end);
    if (after == end || *after != ':') return false;
    walk->at = after_space(after + 1, end);
    walk->is_bad = false;
    return walk->at < end || !(walk->is_bad = true);
}

/* A member of an object that is looked at: its key, where its value goes, and who reads it. */
typedef const byte *Read(const byte *at, const byte *end, void *to);
typedef struct {
    const char *key;
    size_t size, place;
    Read *read;
} Member;
#define MEMBER(key, type, field, read) {key, sizeof(key) - 1, offsetof(type, field), read}

/* What stands for a value that has to be null; nothing is kept of it. */
static inline const byte *read_null(const byte *at, const byte *end, void *to) {
    (void)to;
    return after_null(at, end);
}
#define NULL_MEMBER(key) {key, sizeof(key) - 1, 0, read_null}

enum Others { OTHERS_REFUSED, OTHERS_PASSED };

/* An object into a struct, each of some members at most once; with other members it is refused, or they are passed. */
static inline const byte *read_object(const byte *at, const byte *end, const Member *members, size_t count, void *to,
                                      enum Others others) {
    Walk walk;
    unsigned seen = 0;
    if (!begin_object(&walk, at, end)) return NULL;
    while (next_key(&walk)) {
        size_t place = 0;
        while (place < count && (members[place].size != walk.size || memcmp(members[place].key, walk.key, walk.size)))
            place++;
        if (place == count) {
            walk.at = others == OTHERS_PASSED ? after_value(walk.at, end) : NULL;
        } else {
            if (seen & 1u << place) return NULL;
            seen |= 1u << place;
            walk.at = members[place].read(walk.at, end, (byte *)to + members[place].place);
        }
        if (!walk.at) return NULL;
    }
    return walk.is_bad ? NULL : walk.at;
}
#define READ_OBJECT(at, end, members, to, others) \
    read_object(at, end, members, sizeof members / sizeof *members, to, others)

/* Whether some bytes hold a word of at least two letters. */
static inline bool holds(const byte *at, const byte *end, const char *word, size_t size) {
#if defined(__SSE2__)
    const __m128i first = _mm_set1_epi8(word[0]), second = _mm_set1_epi8(word[1]);
    while (end - at >= 17) {
        __m128i here = _mm_loadu_si128((const __m128i *)at), next = _mm_loadu_si128((const __m128i *)(at + 1));
        unsigned mask = (unsigned)_mm_movemask_epi8(
            _mm_and_si128(_mm_cmpeq_epi8(here, first), _mm_cmpeq_epi8(next, second)));
        for (; mask; mask &= mask - 1) {
            const byte *one = at + __builtin_ctz(mask);
            if ((size_t)(end - one) >= size && !memcmp(one, word, size)) return true;
        }
        at += 16;
    }
#endif
    for (; (size_t)(end - at) >= size && at < end; at++)
        if (!memcmp(at, word, size)) return true;
    return false;
}

#endif
