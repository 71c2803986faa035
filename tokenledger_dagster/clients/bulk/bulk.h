/* What both bulk readers share: a block under way, and the lists of its packer.
 *
 * The lists are those of the Python packer (``clients.pack.RowPacker``), which takes any row that is not vouched for
 * here: so both may take turns within one file, line by line.
 */
#ifndef TOKENLEDGER_BULK_H
#define TOKENLEDGER_BULK_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <datetime.h>

#include "moment.h"

/* One call of a packer's `take`. */
typedef struct {
    PyObject *packer, *data;
    const byte *first, *end; /* the block's bytes */
    int64_t base;            /* offset of the block in its file */
    int64_t latest_us;       /* times after this one are not believed */
    PyObject *offsets, *lengths, *hashes, *times, *context_of, *event_of, *winners, *values, *firsts, *identities;
} Block;

enum { ROW_LISTS = 10 };
#define EARLIEST_US INT64_C(31536000000000) /* 1971, as in the Python packers */

/* Opens a block and its packer's lists; close it whatever becomes of it. */
bool open_block(Block *block, PyObject *packer, PyObject *data, Py_buffer *view, Py_ssize_t filled, long long base);
void close_block(Block *block, Py_buffer *view);

/* Gives a line to the Python packer, or straight on to the careful reader, which takes any. */
bool give_line(const Block *block, const byte *at, const byte *stop, bool is_careful);

/* Everything of a row but its values, identity and winner. Takes over the references. */
bool append_row(const Block *block, const byte *at, const byte *stop, PyObject *digest, PyObject *time, long place,
                PyObject *event, PyObject *values);

bool is_believed(const Block *block, const Moment *moment);
PyObject *new_moment(const Moment *moment);
PyObject *new_digest(const byte *at, const byte *stop);
PyObject *new_text(const Text *text);
bool append_new(PyObject *list, PyObject *value);
PyObject *get_list(PyObject *packer, const char *name);
bool get_int(PyObject *owner, const char *name, int64_t *found);

PyObject *take_claude(PyObject *module, PyObject *const *given, Py_ssize_t count);
PyObject *take_codex(PyObject *module, PyObject *const *given, Py_ssize_t count);

/* sums.c; the module's functions, and what makes their tables. */
void prepare_sums(void);
bool prepare_times(void);
PyObject *claude_keys(PyObject *module, PyObject *const *given, Py_ssize_t count);
PyObject *codex_keys(PyObject *module, PyObject *totals);
PyObject *microseconds_of(PyObject *module, PyObject *times);
PyObject *sums(PyObject *module, PyObject *given);

/* chain.c, keys.c */
PyObject *extended(PyObject *module, PyObject *given);
PyObject *met(PyObject *module, PyObject *given);

#endif
