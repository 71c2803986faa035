/* The columns of a pack as the JSON array that a journal keeps (``clients.pack.Columns``).
 *
 * Here: the same bytes that msgspec writes of the same columns.  Not here: what a column means.
 */
#include "bulk.h"

typedef struct {
    byte *first, *at, *end;
} Out;

/* Makes room for some bytes more; false with an exception set where there is none. */
static bool want(Out *out, size_t more) {
    if ((size_t)(out->end - out->at) >= more) return true;
    size_t used = (size_t)(out->at - out->first), room = 2 * (used + more);
    byte *moved = PyMem_Realloc(out->first, room);
    if (!moved) {
        PyErr_NoMemory();
        return false;
    }
    *out = (Out){moved, moved + used, moved + room};
    return true;
}

enum { LONGEST_NUMBER = 20, LONGEST_TIME = 29, LONGEST_NULL = 4, COLUMNS = 7 };

static void put_number(Out *out, int64_t number) {
    static const char pairs[] =
        "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
        "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";
    byte digits[LONGEST_NUMBER], *first = digits + LONGEST_NUMBER;
    uint64_t left = number < 0 ? -(uint64_t)number : (uint64_t)number;
    for (; left >= 100; left /= 100) memcpy(first -= 2, pairs + left % 100 * 2, 2);
    if (left >= 10) memcpy(first -= 2, pairs + left * 2, 2);
    else *--first = (byte)('0' + left);
    if (number < 0) *--first = '-';
    size_t size = (size_t)(digits + LONGEST_NUMBER - first);
    memcpy(out->at, first, size);
    out->at += size;
}

static void put_digits(Out *out, int number, int count) {
    for (int place = count - 1; place >= 0; place--, number /= 10) out->at[place] = (byte)('0' + number % 10);
    out->at += count;
}

static void put_time(Out *out, int64_t us) {
    Moment moment;
    moment_of(us, &moment);
    *out->at++ = '"';
    put_digits(out, moment.year, 4);
    *out->at++ = '-';
    put_digits(out, moment.month, 2);
    *out->at++ = '-';
    put_digits(out, moment.day, 2);
    *out->at++ = 'T';
    put_digits(out, moment.hour, 2);
    *out->at++ = ':';
    put_digits(out, moment.minute, 2);
    *out->at++ = ':';
    put_digits(out, moment.second, 2);
    if (moment.micro) {
        *out->at++ = '.';
        put_digits(out, moment.micro, 6);
    }
    *out->at++ = 'Z';
    *out->at++ = '"';
}

/* Writes one row of a column, or of a list; false with an exception set where it cannot. */
typedef bool Put(Out *out, const void *from, Py_ssize_t row);

static bool put_rows(Out *out, const void *from, Py_ssize_t rows, size_t longest, Put *put) {
    if (!want(out, 1)) return false;
    *out->at++ = '[';
    for (Py_ssize_t row = 0; row < rows; row++) {
        if (!want(out, longest + 2)) return false; /* a comma before it, the bracket behind the last */
        if (row) *out->at++ = ',';
        if (!put(out, from, row)) return false;
    }
    if (!want(out, 1)) return false;
    *out->at++ = ']';
    return true;
}

static bool put_number_of(Out *out, const void *column, Py_ssize_t row) {
    put_number(out, numbers_of(column)[row]);
    return true;
}

static bool put_time_of(Out *out, const void *column, Py_ssize_t row) {
    put_time(out, numbers_of(column)[row]);
    return true;
}

static bool put_item_of(Out *out, const void *list, Py_ssize_t row) {
    PyObject *item = PyList_GET_ITEM((PyObject *)list, row);
    if (!PyLong_CheckExact(item)) { /* anything else might run Python, and change the list */
        PyErr_SetString(PyExc_TypeError, "an ordinal is an integer");
        return false;
    }
    put_number(out, PyLong_AsLongLong(item));
    return !PyErr_Occurred();
}

static bool put_values_of(Out *out, const void *column, Py_ssize_t row) {
    const Counters *values = &counters_of(column)[row];
    *out->at++ = '[';
    for (int64_t place = 0; place < values->size; place++) {
        if (place) *out->at++ = ',';
        if (values->counts[place] != NO_COUNT) put_number(out, values->counts[place]);
        else memcpy(out->at, "null", LONGEST_NULL), out->at += LONGEST_NULL;
    }
    *out->at++ = ']';
    return true;
}

static bool put_numbers(Out *out, const Column *column) {
    return put_rows(out, column, column->count, LONGEST_NUMBER, put_number_of);
}

static bool put_times(Out *out, const Column *column) {
    return put_rows(out, column, column->count, LONGEST_TIME, put_time_of);
}

static bool put_list(Out *out, PyObject *list) {
    return put_rows(out, list, PyList_GET_SIZE(list), LONGEST_NUMBER, put_item_of);
}

static bool put_values(Out *out, const Column *column) {
    return put_rows(out, column, column->count, 2 + MOST_VALUES * (LONGEST_NUMBER + 1), put_values_of);
}

/* Bytes as base64 (RFC 4648), padded. */
static bool put_bytes(Out *out, const byte *at, size_t size) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (!want(out, 2 + (size + 2) / 3 * 4)) return false;
    *out->at++ = '"';
    for (; size >= 3; size -= 3, at += 3) {
        uint32_t three = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];
        *out->at++ = (byte)letters[three >> 18];
        *out->at++ = (byte)letters[three >> 12 & 63];
        *out->at++ = (byte)letters[three >> 6 & 63];
        *out->at++ = (byte)letters[three & 63];
    }
    if (size) {
        uint32_t left = (uint32_t)at[0] << 16 | (size == 2 ? (uint32_t)at[1] << 8 : 0);
        *out->at++ = (byte)letters[left >> 18];
        *out->at++ = (byte)letters[left >> 12 & 63];
        *out->at++ = size == 2 ? (byte)letters[left >> 6 & 63] : (byte)'=';
        *out->at++ = '=';
    }
    *out->at++ = '"';
    return true;
}

static bool put_json(Out *out, PyObject *json) {
    size_t size = (size_t)PyBytes_GET_SIZE(json);
    if (!want(out, size)) return false;
    memcpy(out->at, PyBytes_AS_STRING(json), size);
    out->at += size;
    return true;
}

static bool put_mark(Out *out, char mark) {
    if (!want(out, 1)) return false;
    *out->at++ = (byte)mark;
    return true;
}

/* body(layout, ordinals, offsets, lengths, hashes, times, contexts, context_of, identities, event_of, winners, values,
 * extras): what is no column is JSON already, but for the ordinals, which are a list.
 */
PyObject *body(PyObject *Py_UNUSED(module), PyObject *given) {
    PyObject *layout, *ordinals, *hashes, *contexts, *identities, *extras, *columns[COLUMNS];
    if (!PyArg_ParseTuple(given, "SO!OOSOSOSOOOS", &layout, &PyList_Type, &ordinals, &columns[0], &columns[1], &hashes,
                          &columns[2], &contexts, &columns[3], &identities, &columns[4], &columns[5], &columns[6],
                          &extras))
        return NULL;
    static const struct {
        const char *name;
        Kind kind;
    } wanted[COLUMNS] = {{"offsets", NUMBERS},  {"lengths", NUMBERS}, {"times", TIMES},   {"context_of", NUMBERS},
                         {"event_of", NUMBERS}, {"winners", NUMBERS}, {"values", VALUES}};
    const Column *found[COLUMNS];
    for (int place = 0; place < COLUMNS; place++)
        if (!(found[place] = as_column(columns[place], wanted[place].kind, wanted[place].name))) return NULL;
    Out out = {0};
    bool done = put_mark(&out, '[') && put_json(&out, layout) && put_mark(&out, ',') && put_list(&out, ordinals) &&
                put_mark(&out, ',') && put_numbers(&out, found[0]) && put_mark(&out, ',') &&
                put_numbers(&out, found[1]) && put_mark(&out, ',') &&
                put_bytes(&out, (const byte *)PyBytes_AS_STRING(hashes), (size_t)PyBytes_GET_SIZE(hashes)) &&
                put_mark(&out, ',') && put_times(&out, found[2]) && put_mark(&out, ',') && put_json(&out, contexts) &&
                put_mark(&out, ',') && put_numbers(&out, found[3]) && put_mark(&out, ',') &&
                put_json(&out, identities) && put_mark(&out, ',') && put_numbers(&out, found[4]) &&
                put_mark(&out, ',') && put_numbers(&out, found[5]) && put_mark(&out, ',') &&
                put_values(&out, found[6]) && put_mark(&out, ',') && put_json(&out, extras) && put_mark(&out, ']');
    PyObject *made = done ? PyBytes_FromStringAndSize((const char *)out.first, out.at - out.first) : NULL;
    PyMem_Free(out.first);
    return made;
}
