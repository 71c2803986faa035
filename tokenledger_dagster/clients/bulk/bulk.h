/* What both bulk readers share: a block under way, and the columns of its packer.
 *
 * The columns are those of the Python packer (``clients.pack.RowPacker``), which takes any row that is not vouched for
 * here: so both may take turns within one file, line by line.
 */
#ifndef TOKENLEDGER_BULK_H
#define TOKENLEDGER_BULK_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "column.h"
#include "moment.h"

/* One call of a packer's `take`. */
typedef struct {
    PyObject *packer, *data;
    Py_buffer view;
    const byte *first, *end; /* the block's bytes */
    int64_t base;            /* offset of the block in its file */
    int64_t latest_us;       /* times after this one are not believed */
    Column *offsets, *lengths, *hashes, *times, *context_of, *event_of, *winners, *values, *firsts;
    PyObject *identities; /* a list */
    const byte *waiting; /* a row that is not hashed yet, or NULL */
    size_t waiting_size;
    Py_ssize_t waiting_row;
} Block;

#define EARLIEST_US INT64_C(31536000000000) /* 1971, as in the Python packers */

/* What becomes of a line: it is a row now or tells nothing, it is left to Python, or an exception is set. */
enum Outcome { TAKEN, LEFT, FAILED };

/* Opens a block, given as (packer, data, filled, base), and its packer's columns; what was opened is to be closed. */
bool open_block(Block *block, PyObject *const *given, Py_ssize_t count);
void close_block(Block *block);

/* Gives a line to the Python packer, or straight on to the careful reader, which takes any. */
bool give_line(Block *block, const byte *at, const byte *stop, bool is_careful);

/* Makes a row of all that is told. */
bool append_row(Block *block, const byte *at, const byte *stop, int64_t us, long place, Py_ssize_t event,
                const Counters *values);

/* The digest of a row's line. */
const byte *digest_of_row(Block *block, Py_ssize_t row);

/* Begins the event of a new identity, with its first row; its number, or -1 on an error. */
Py_ssize_t begin_event(const Block *block, PyObject *numbers, PyObject *name, PyObject *identity, int64_t us);

/* How far the readers go: a bench stops them early, to tell what each step costs. */
enum Stage { CLASSIFY_STAGE, DECODE_STAGE, ALL_STAGES };
extern enum Stage measured_stage;

bool is_believed(const Block *block, const Moment *moment);
bool digest_line(const byte *at, const byte *stop, byte digest[DIGEST_SIZE]);
PyObject *new_text(const Text *text);
bool append_new(PyObject *list, PyObject *value);
Column *get_column(PyObject *packer, const char *name, Kind kind);
bool get_int(PyObject *owner, const char *name, int64_t *found);

PyObject *take_claude(PyObject *module, PyObject *const *given, Py_ssize_t count);
PyObject *take_codex(PyObject *module, PyObject *const *given, Py_ssize_t count);

/* sums.c; the module's functions, and what makes their tables. */
void prepare_sums(void);
PyObject *claude_keys(PyObject *module, PyObject *given);
PyObject *codex_keys(PyObject *module, PyObject *totals);
PyObject *earliest(PyObject *module, PyObject *given);
PyObject *sums(PyObject *module, PyObject *given);

/* body.c, chain.c, keys.c, log_files.c */
PyObject *body(PyObject *module, PyObject *given);
PyObject *extended(PyObject *module, PyObject *given);
PyObject *met(PyObject *module, PyObject *given);
PyObject *log_files(PyObject *module, PyObject *root);

#endif
