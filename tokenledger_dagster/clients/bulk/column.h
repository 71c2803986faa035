/* Columns of a pack: vectors of numbers, times, digests and counters, which Python sees as sequences of objects.
 *
 * Here: what they hold and how C code reaches it.  A column keeps plain memory; an object is made only for whoever asks
 * from Python, as the Python packer does for the few rows it takes.
 */
#ifndef TOKENLEDGER_COLUMN_H
#define TOKENLEDGER_COLUMN_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "json.h"

enum { DIGEST_SIZE = 32, MOST_VALUES = 12 };

typedef enum { NUMBERS = 'q', TIMES = 't', DIGESTS = 'h', VALUES = 'v' } Kind;

/* One row's counters; NO_COUNT stands for None. */
typedef struct {
    int64_t size;
    int64_t counts[MOST_VALUES];
} Counters;

typedef struct {
    PyObject_HEAD
    Kind kind;
    Py_ssize_t count, room, width, views;
    byte *data;
} Column;

extern PyTypeObject ColumnType;

static inline int64_t *numbers_of(const Column *column) { return (int64_t *)column->data; }
static inline Counters *counters_of(const Column *column) { return (Counters *)column->data; }
static inline byte *digest_at(const Column *column, Py_ssize_t row) { return column->data + row * DIGEST_SIZE; }

/* Room for one more item at the end, which is counted; NULL with an exception set where there is none. */
byte *push(Column *column);

static inline bool push_number(Column *column, int64_t number) {
    byte *at = push(column);
    if (at) memcpy(at, &number, sizeof number);
    return at != NULL;
}

/* A borrowed column of some kind from an attribute or argument; NULL with an exception set where it is none. */
Column *as_column(PyObject *found, Kind kind, const char *name);

/* Counts as a tuple; NO_COUNT is None. */
PyObject *new_tuple(const int64_t *counts, Py_ssize_t size);

bool prepare_columns(PyObject *module);

#endif
