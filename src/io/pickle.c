#include "io/pickle.h"

#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"

enum { BLOCK_VALUES = 256, BLOCK_SLOTS = 1024, HIGHEST_PROTOCOL = 5 };

typedef TimPickleValue Value;

typedef struct TimPickleBlock {
    struct TimPickleBlock *next;
    size_t count;
    Value values[BLOCK_VALUES];
} TimPickleBlock;

/* Room for the items of many containers: a block for each would take 16 times what a tuple of one needs, and such a tuple is a
 * byte. */
typedef struct TimPickleSlots {
    struct TimPickleSlots *next;
    size_t count, capacity;
    Value *items[];
} TimPickleSlots;

typedef struct Values {
    Value **items;
    size_t count, capacity;
} Values;

typedef struct Machine {
    TimPickle *pickle;
    const uint8_t *bytes;
    size_t size, at;
    size_t opcode_at; /* for errors */
    const TimPickleGlobal *globals;
    size_t global_count;
    Values stack, memo;
    size_t marks[TIM_PICKLE_MAX_MARKS]; /* heights of the stack */
    size_t mark_count;
    bool stopped;
    TimError *err;
} Machine;

/* ---- errors and bytes ---- */

static TimStatus damaged(const Machine *m, const char *what) {
    return tim_fail(m->err, TIM_E_FORMAT, "the pickle's opcode 0x%02x at byte %zu of %zu: %s; is the file complete?",
                    m->bytes[m->opcode_at], m->opcode_at, m->size, what);
}

static TimStatus too_large(const Machine *m, const char *what, size_t limit) {
    return tim_fail(
        m->err, TIM_E_FORMAT,
        "the pickle's opcode 0x%02x at byte %zu: more than %zu %s; save the tensors alone: torch.save(model.state_dict(), ...)",
        m->bytes[m->opcode_at], m->opcode_at, limit, what);
}

static TimStatus take_bytes(Machine *m, const uint8_t **out, uint64_t count) {
    *out = NULL;
    if (count > m->size - m->at) return damaged(m, "its argument reaches beyond the end");
    *out = m->bytes + m->at;
    m->at += (size_t)count;
    return TIM_OK;
}

/* A little-endian number of `count` bytes. */
static TimStatus take_number(Machine *m, uint64_t *out, int count) {
    const uint8_t *bytes;
    TIM_TRY(take_bytes(m, &bytes, (uint64_t)count));
    *out = 0;
    for (int i = count - 1; i >= 0; i--) *out = *out << 8 | bytes[i];
    return TIM_OK;
}

/* The bytes up to the end of the line, which is passed. */
static TimStatus take_line(Machine *m, const char **out, size_t *count) {
    const uint8_t *begin = m->bytes + m->at, *end = memchr(begin, '\n', m->size - m->at);
    if (!end) return damaged(m, "its line does not end");
    *out = (const char *)begin;
    *count = (size_t)(end - begin);
    m->at += *count + 1;
    return TIM_OK;
}

/* ---- values and the stack ---- */

static TimStatus new_value(Machine *m, Value **out, TimPickleKind kind) {
    TimPickle *pickle = m->pickle;
    if (pickle->value_count == TIM_PICKLE_MAX_VALUES) return too_large(m, "values", TIM_PICKLE_MAX_VALUES);
    if (!pickle->blocks || pickle->blocks->count == BLOCK_VALUES) {
        TimPickleBlock *block;
        TIM_TRY(tim_new(&block, 1, sizeof *block, "the values of a pickle", m->err));
        block->next = pickle->blocks;
        pickle->blocks = block;
    }
    pickle->value_count++;
    *out = &pickle->blocks->values[pickle->blocks->count++];
    (*out)->kind = kind;
    return TIM_OK;
}

static TimStatus append(Machine *m, Values *values, Value *value) {
    if (values->count == TIM_PICKLE_MAX_VALUES) return too_large(m, "values on its stack or in its memo", TIM_PICKLE_MAX_VALUES);
    TIM_TRY(tim_grow(&values->items, &values->capacity, values->count, sizeof(Value *), "the stack of a pickle", m->err));
    values->items[values->count++] = value;
    return TIM_OK;
}

static TimStatus push(Machine *m, Value *value) {
    return append(m, &m->stack, value);
}

static TimStatus push_new(Machine *m, TimPickleKind kind, int64_t integer) {
    Value *value = NULL;
    TIM_TRY(new_value(m, &value, kind));
    value->integer = integer;
    return push(m, value);
}

/* Values above the last mark, or all where there is none: what an opcode may take. */
static size_t available(const Machine *m) {
    return m->stack.count - (m->mark_count ? m->marks[m->mark_count - 1] : 0);
}

static TimStatus pop(Machine *m, Value **out) {
    if (available(m) == 0) return damaged(m, "it takes a value, and the stack has none");
    *out = m->stack.items[--m->stack.count];
    return TIM_OK;
}

static TimStatus top(Machine *m, Value **out) {
    if (available(m) == 0) return damaged(m, "it wants a value, and the stack has none");
    *out = m->stack.items[m->stack.count - 1];
    return TIM_OK;
}

/* Ends the last mark, which was set when the stack was *height high. */
static TimStatus take_mark(Machine *m, size_t *height) {
    if (m->mark_count == 0) return damaged(m, "it wants a mark, and the stack has none");
    *height = m->marks[--m->mark_count];
    return TIM_OK;
}

/* ---- containers ---- */

static TimStatus take_slots(Machine *m, Value ***out, size_t count) {
    TimPickle *pickle = m->pickle;
    if (!pickle->slots || count > pickle->slots->capacity - pickle->slots->count) {
        const size_t capacity = count > BLOCK_SLOTS ? count : BLOCK_SLOTS;
        TimPickleSlots *slots;
        TIM_TRY(tim_new(&slots, sizeof *slots + capacity * sizeof(Value *), 1, "the items of a pickle", m->err));
        *slots = (TimPickleSlots){.next = pickle->slots, .capacity = capacity};
        pickle->slots = slots;
    }
    *out = pickle->slots->items + pickle->slots->count;
    pickle->slots->count += count;
    return TIM_OK;
}

/* A container first has just the slots it needs, then twice as many. Those it leaves are nobody's until the pickle is done: all it
 * left are fewer than it has. */
static TimStatus extend(Machine *m, Value *value, Value *const *items, size_t count) {
    if (count > value->capacity - value->count) {
        const size_t least = value->count + count, twice = 2 * value->capacity, capacity = least > twice ? least : twice;
        Value **slots = NULL;
        TIM_TRY(take_slots(m, &slots, capacity));
        if (value->count > 0) memcpy(slots, value->items, value->count * sizeof *slots);
        value->items = slots;
        value->capacity = capacity;
    }
    memcpy(value->items + value->count, items, count * sizeof *items);
    value->count += count;
    return TIM_OK;
}

/* A new container of the `count` values above `height`, in their place. */
static TimStatus gather(Machine *m, TimPickleKind kind, size_t height) {
    Value *value = NULL;
    TIM_TRY(new_value(m, &value, kind));
    TIM_TRY(extend(m, value, m->stack.items + height, m->stack.count - height));
    m->stack.count = height;
    return push(m, value);
}

static TimStatus gather_marked(Machine *m, TimPickleKind kind) {
    size_t height = 0;
    TIM_TRY(take_mark(m, &height));
    const size_t count = m->stack.count - height;
    if (kind == TIM_PICKLE_DICT && count % 2) return damaged(m, "a dict of keys and values has an odd number of them");
    if (count == 0) return push_new(m, kind, 0);
    return gather(m, kind, height);
}

static TimStatus gather_few(Machine *m, size_t count) {
    if (available(m) < count) return damaged(m, "it makes a tuple of more values than the stack has");
    return gather(m, TIM_PICKLE_TUPLE, m->stack.count - count);
}

/* Adds what stands above `height` to the container below it. */
static TimStatus fill(Machine *m, size_t height, bool pairs) {
    const size_t floor = m->mark_count ? m->marks[m->mark_count - 1] : 0, count = m->stack.count - height;
    if (height <= floor) return damaged(m, "it adds to a container, and there is none below");
    Value *value = m->stack.items[height - 1];
    if (pairs ? value->kind != TIM_PICKLE_DICT && value->kind != TIM_PICKLE_CALL : value->kind != TIM_PICKLE_LIST)
        return damaged(m, pairs ? "it sets items of what is no dict" : "it appends to what is no list");
    if (pairs && count % 2) return damaged(m, "it sets keys without values");
    if (count > 0) TIM_TRY(extend(m, value, m->stack.items + height, count));
    m->stack.count = height;
    return TIM_OK;
}

static TimStatus fill_few(Machine *m, size_t count, bool pairs) {
    if (available(m) < count + 1) return damaged(m, "it adds to a container, and the stack is too short");
    return fill(m, m->stack.count - count, pairs);
}

static TimStatus fill_marked(Machine *m, bool pairs) {
    size_t height = 0;
    TIM_TRY(take_mark(m, &height));
    return fill(m, height, pairs);
}

/* ---- texts and numbers ---- */

static TimStatus push_text(Machine *m, int length_bytes) {
    uint64_t count;
    const uint8_t *bytes;
    Value *value = NULL;
    TIM_TRY(take_number(m, &count, length_bytes));
    TIM_TRY(take_bytes(m, &bytes, count));
    if (tim_utf8_valid((const char *)bytes, (size_t)count) != count) return damaged(m, "its text is not UTF-8");
    TIM_TRY(new_value(m, &value, TIM_PICKLE_TEXT));
    value->text = (const char *)bytes;
    value->count = (size_t)count;
    return push(m, value);
}

static TimStatus push_integer(Machine *m, int bytes, bool is_signed) {
    uint64_t number;
    TIM_TRY(take_number(m, &number, bytes));
    const int64_t value = is_signed ? (int64_t)(int32_t)(uint32_t)number : (int64_t)number;
    return push_new(m, TIM_PICKLE_INTEGER, value);
}

/* Two's complement of the least number of bytes. */
static TimStatus push_long(Machine *m) {
    uint64_t count;
    const uint8_t *bytes;
    TIM_TRY(take_number(m, &count, 1));
    TIM_TRY(take_bytes(m, &bytes, count));
    if (count > 8)
        return tim_fail(m->err, TIM_E_UNSUPPORTED,
                        "the pickle has an integer of %ju bytes at byte %zu; integers are of 64 bits here", (uintmax_t)count,
                        m->opcode_at);
    uint64_t value = count > 0 && bytes[count - 1] & 0x80 ? UINT64_MAX : 0;
    for (size_t i = (size_t)count; i-- > 0;) value = value << 8 | bytes[i];
    return push_new(m, TIM_PICKLE_INTEGER, (int64_t)value);
}

/* Big-endian, the only one here. */
static TimStatus push_real(Machine *m) {
    uint64_t bits = 0;
    const uint8_t *bytes;
    Value *value = NULL;
    TIM_TRY(take_bytes(m, &bytes, sizeof bits));
    for (size_t i = 0; i < sizeof bits; i++) bits = bits << 8 | bytes[i];
    TIM_TRY(new_value(m, &value, TIM_PICKLE_REAL));
    memcpy(&value->real, &bits, sizeof bits);
    return push(m, value);
}

/* ---- globals ---- */

static bool same(const char *text, size_t count, const char *known) {
    return strlen(known) == count && memcmp(text, known, count) == 0;
}

/* Text from a hostile file for an error: what is not plain becomes '?'. */
static const char *plain(char out[64], const char *text, size_t count) {
    size_t i = 0;
    for (; i < count && i < 63; i++) out[i] = text[i] >= 0x20 && text[i] < 0x7F ? text[i] : '?';
    out[i] = '\0';
    return out;
}

static TimStatus push_global(Machine *m, const char *module, size_t module_count, const char *name, size_t name_count) {
    char first[64], second[64];
    for (size_t i = 0; i < m->global_count; i++) {
        if (!same(module, module_count, m->globals[i].module) || !same(name, name_count, m->globals[i].name)) continue;
        Value *value = NULL;
        TIM_TRY(new_value(m, &value, TIM_PICKLE_GLOBAL));
        value->global = (int)i;
        return push(m, value);
    }
    return tim_fail(m->err, TIM_E_UNSUPPORTED,
                    "the pickle asks for '%s.%s' at byte %zu, which no tensor needs; nothing was run. Save the tensors alone: "
                    "torch.save(model.state_dict(), ...)",
                    plain(first, module, module_count), plain(second, name, name_count), m->opcode_at);
}

static TimStatus global_of_lines(Machine *m) {
    const char *module = NULL, *name = NULL;
    size_t module_count = 0, name_count = 0;
    TIM_TRY(take_line(m, &module, &module_count));
    TIM_TRY(take_line(m, &name, &name_count));
    return push_global(m, module, module_count, name, name_count);
}

static TimStatus global_of_stack(Machine *m) {
    Value *module = NULL, *name = NULL;
    TIM_TRY(pop(m, &name));
    TIM_TRY(pop(m, &module));
    if (module->kind != TIM_PICKLE_TEXT || name->kind != TIM_PICKLE_TEXT) return damaged(m, "a global is named by what is no text");
    return push_global(m, module->text, module->count, name->text, name->count);
}

/* REDUCE and NEWOBJ: what Python would call is noted down. */
static TimStatus record_call(Machine *m) {
    Value *argument = NULL, *callee = NULL, *call = NULL;
    TIM_TRY(pop(m, &argument));
    TIM_TRY(pop(m, &callee));
    if (callee->kind != TIM_PICKLE_GLOBAL || argument->kind != TIM_PICKLE_TUPLE)
        return damaged(m, "it applies what is no global, or to what is no tuple");
    TIM_TRY(new_value(m, &call, TIM_PICKLE_CALL));
    call->global = callee->global;
    call->argument = argument;
    return push(m, call);
}

static TimStatus build(Machine *m) {
    Value *state = NULL, *object = NULL;
    TIM_TRY(pop(m, &state));
    TIM_TRY(top(m, &object));
    if (object->kind != TIM_PICKLE_CALL) return damaged(m, "it gives a state to what is no object");
    object->state = state;
    return TIM_OK;
}

static TimStatus outside(Machine *m) {
    Value *name = NULL, *value = NULL;
    TIM_TRY(pop(m, &name));
    TIM_TRY(new_value(m, &value, TIM_PICKLE_OUTSIDE));
    value->argument = name;
    TimPickle *p = m->pickle;
    TIM_TRY(tim_grow(&p->outside, &p->outside_capacity, p->outside_count, sizeof(Value *), "what a pickle asks for", m->err));
    p->outside[p->outside_count++] = value;
    return push(m, value);
}

/* ---- the memo ---- */

/* Python numbers the memo from 0 on, so that a number beyond the next one is no pickler's. */
static TimStatus memo_put(Machine *m, uint64_t index) {
    Value *value = NULL;
    TIM_TRY(top(m, &value));
    if (index > m->memo.count) return damaged(m, "it numbers the memo out of order");
    if (index == m->memo.count) return append(m, &m->memo, value);
    m->memo.items[index] = value;
    return TIM_OK;
}

static TimStatus memo_put_number(Machine *m, int bytes) {
    uint64_t index;
    TIM_TRY(take_number(m, &index, bytes));
    return memo_put(m, index);
}

static TimStatus memo_get(Machine *m, int bytes) {
    uint64_t index;
    TIM_TRY(take_number(m, &index, bytes));
    if (index >= m->memo.count) return damaged(m, "it asks for what the memo does not have");
    return push(m, m->memo.items[index]);
}

/* ---- opcodes ---- */

static TimStatus mark(Machine *m) {
    if (m->mark_count == TIM_PICKLE_MAX_MARKS) return too_large(m, "containers inside each other", TIM_PICKLE_MAX_MARKS);
    m->marks[m->mark_count++] = m->stack.count;
    return TIM_OK;
}

static TimStatus protocol(Machine *m) {
    uint64_t version;
    TIM_TRY(take_number(m, &version, 1));
    if (version >= 2 && version <= HIGHEST_PROTOCOL) return TIM_OK;
    return tim_fail(m->err, TIM_E_UNSUPPORTED, "the pickle is of protocol %d, and 2 to %d are read; save it with torch.save's own",
                    (int)version, HIGHEST_PROTOCOL);
}

static TimStatus stop(Machine *m) {
    if (m->mark_count > 0 || m->stack.count != 1) return damaged(m, "it ends, and the stack does not hold one value");
    m->pickle->root = m->stack.items[0];
    m->pickle->size = m->at;
    m->stopped = true;
    return TIM_OK;
}

static TimStatus unknown(const Machine *m) {
    return tim_fail(
        m->err, TIM_E_UNSUPPORTED,
        "the pickle's opcode 0x%02x at byte %zu is none that torch writes for tensors under Python 3; save them again with "
        "torch.save",
        m->bytes[m->opcode_at], m->opcode_at);
}

static TimStatus step(Machine *m) {
    uint64_t ignored;
    m->opcode_at = m->at;
    switch (m->bytes[m->at++]) {
    case 0x80: /* PROTO */
        return protocol(m);
    case 0x95: /* FRAME: a hint for readers of streams */
        return take_number(m, &ignored, 8);
    case '.': /* STOP */
        return stop(m);
    case '(': /* MARK */
        return mark(m);
    case 'N': /* NONE */
        return push_new(m, TIM_PICKLE_NONE, 0);
    case 0x88: /* NEWTRUE */
        return push_new(m, TIM_PICKLE_BOOL, 1);
    case 0x89: /* NEWFALSE */
        return push_new(m, TIM_PICKLE_BOOL, 0);
    case 'J': /* BININT */
        return push_integer(m, 4, true);
    case 'K': /* BININT1 */
        return push_integer(m, 1, false);
    case 'M': /* BININT2 */
        return push_integer(m, 2, false);
    case 0x8A: /* LONG1 */
        return push_long(m);
    case 'G': /* BINFLOAT */
        return push_real(m);
    case 0x8C: /* SHORT_BINUNICODE */
        return push_text(m, 1);
    case 'X': /* BINUNICODE */
        return push_text(m, 4);
    case 0x8D: /* BINUNICODE8 */
        return push_text(m, 8);
    case ')': /* EMPTY_TUPLE */
        return push_new(m, TIM_PICKLE_TUPLE, 0);
    case ']': /* EMPTY_LIST */
        return push_new(m, TIM_PICKLE_LIST, 0);
    case '}': /* EMPTY_DICT */
        return push_new(m, TIM_PICKLE_DICT, 0);
    case 0x85: /* TUPLE1 */
        return gather_few(m, 1);
    case 0x86: /* TUPLE2 */
        return gather_few(m, 2);
    case 0x87: /* TUPLE3 */
        return gather_few(m, 3);
    case 't': /* TUPLE */
        return gather_marked(m, TIM_PICKLE_TUPLE);
    case 'l': /* LIST */
        return gather_marked(m, TIM_PICKLE_LIST);
    case 'd': /* DICT */
        return gather_marked(m, TIM_PICKLE_DICT);
    case 'a': /* APPEND */
        return fill_few(m, 1, false);
    case 'e': /* APPENDS */
        return fill_marked(m, false);
    case 's': /* SETITEM */
        return fill_few(m, 2, true);
    case 'u': /* SETITEMS */
        return fill_marked(m, true);
    case 'q': /* BINPUT */
        return memo_put_number(m, 1);
    case 'r': /* LONG_BINPUT */
        return memo_put_number(m, 4);
    case 0x94: /* MEMOIZE */
        return memo_put(m, m->memo.count);
    case 'h': /* BINGET */
        return memo_get(m, 1);
    case 'j': /* LONG_BINGET */
        return memo_get(m, 4);
    case 'c': /* GLOBAL */
        return global_of_lines(m);
    case 0x93: /* STACK_GLOBAL */
        return global_of_stack(m);
    case 'R':  /* REDUCE */
    case 0x81: /* NEWOBJ */
        return record_call(m);
    case 'b': /* BUILD */
        return build(m);
    case 'Q': /* BINPERSID */
        return outside(m);
    default:
        return unknown(m);
    }
}

static TimStatus run(Machine *m) {
    while (!m->stopped) {
        if (m->at == m->size)
            return tim_fail(m->err, TIM_E_FORMAT, "the pickle's %zu bytes end before it does; is the file complete?", m->size);
        TIM_TRY(step(m));
    }
    return TIM_OK;
}

TimStatus tim_pickle_read(TimPickle *pickle, const uint8_t *bytes, size_t size, const TimPickleGlobal *globals, size_t global_count,
                          TimError *err) {
    *pickle = (TimPickle){0};
    if (size > TIM_PICKLE_MAX_BYTES)
        return tim_fail(err, TIM_E_FORMAT, "a pickle of %zu bytes, and at most %d are read: what it holds is not only tensors",
                        size, TIM_PICKLE_MAX_BYTES);
    Machine *m;
    TIM_TRY(tim_new(&m, 1, sizeof *m, "reading a pickle", err));
    *m = (Machine){.pickle = pickle, .bytes = bytes, .size = size, .globals = globals, .global_count = global_count, .err = err};
    const TimStatus status = run(m);
    tim_free(m->stack.items);
    tim_free(m->memo.items);
    tim_free(m);
    if (status != TIM_OK) tim_pickle_done(pickle);
    return status;
}

bool tim_pickle_is_text(const TimPickleValue *value, const char *text) {
    return value->kind == TIM_PICKLE_TEXT && value->count == strlen(text) && memcmp(value->text, text, value->count) == 0;
}

void tim_pickle_done(TimPickle *pickle) {
    for (TimPickleBlock *block = pickle->blocks, *next; block; block = next) {
        next = block->next;
        tim_free(block);
    }
    for (TimPickleSlots *slots = pickle->slots, *next; slots; slots = next) {
        next = slots->next;
        tim_free(slots);
    }
    tim_free(pickle->outside);
    *pickle = (TimPickle){0};
}
