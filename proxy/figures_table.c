#include "proxy/figures_table.h"

#include "config/alloc.h"
#include "config/utf8.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A row is its cells one after another: a mark, then the number's bytes, or the text's length, its
 * bytes and NUL. */
enum mark { MARK_UNKNOWN, MARK_NUMBER, MARK_TEXT };

/* -- rows -------------------------------------------------------------------------------------- */

void figures_table_close(struct figures_table *table) {
    wire_buffer_close(&table->rows);
    table->row_count = 0;
}

static size_t shown_length(const char *text) {
    size_t length = strnlen(text, FIGURES_TEXT_MAX + 1);
    return length <= FIGURES_TEXT_MAX ? length : utf8_cut(text, FIGURES_TEXT_MAX);
}

static void add_text(struct wire_buffer *rows, const char *text) {
    uint32_t length = (uint32_t)shown_length(text);
    message_put_u8(rows, MARK_TEXT);
    wire_append(rows, &length, sizeof length);
    size_t at = rows->length;
    wire_append(rows, text, length);
    message_put_u8(rows, 0);
    utf8_repair((char *)rows->data + at, length);
}

void figures_table_add(struct figures_table *table, const struct figure *row) {
    struct wire_buffer *rows = &table->rows;
    for (size_t i = 0; i < table->kind->column_count; i++) {
        if (!row[i].known) {
            message_put_u8(rows, MARK_UNKNOWN);
        } else if (table->kind->columns[i].type == FIGURE_TEXT) {
            add_text(rows, row[i].text);
        } else {
            message_put_u8(rows, MARK_NUMBER);
            wire_append(rows, &row[i].number, sizeof row[i].number);
        }
    }
    table->row_count++;
}

static struct figure read_cell(const uint8_t *rows, size_t *at) {
    enum mark mark = (enum mark)rows[(*at)++];
    struct figure figure = {.known = mark != MARK_UNKNOWN};
    uint32_t length;
    if (mark == MARK_NUMBER) {
        memcpy(&figure.number, rows + *at, sizeof figure.number);
        *at += sizeof figure.number;
    } else if (mark == MARK_TEXT) {
        memcpy(&length, rows + *at, sizeof length);
        *at += sizeof length;
        figure.text = (const char *)rows + *at;
        *at += length + 1;
    }
    return figure;
}

bool figures_table_next(const struct figures_table *table, size_t *at, struct figure *row) {
    if (*at >= table->rows.length)
        return false;
    for (size_t i = 0; i < table->kind->column_count; i++)
        row[i] = read_cell(table->rows.data, at);
    return true;
}

void figures_table_take(struct figures_table *into, struct figures_table *from) {
    assert(into->kind == from->kind);
    if (into->row_count == 0) {
        wire_buffer_close(&into->rows);
        into->rows = from->rows;
        into->row_count = from->row_count;
        *from = (struct figures_table){.kind = from->kind};
        return;
    }
    wire_append(&into->rows, from->rows.data, from->rows.length);
    into->row_count += from->row_count;
    figures_table_close(from);
}

/* -- merging ----------------------------------------------------------------------------------- */

static int compare_keys(const void *a, const void *b, void *context) {
    const struct figures_kind *kind = context;
    const struct figure *x = a, *y = b;
    for (size_t i = 0; i < kind->column_count && kind->columns[i].merging == MERGE_KEY; i++) {
        assert(kind->columns[i].type == FIGURE_TEXT && x[i].known && y[i].known);
        int order = strcmp(x[i].text, y[i].text);
        if (order != 0)
            return order;
    }
    return 0;
}

static void merge_row(const struct figures_kind *kind, struct figure *into,
                      const struct figure *from) {
    int64_t lead = 0; /* of the column before it: by how much `from` has the greater one */
    for (size_t i = 0; i < kind->column_count; i++) {
        struct figure *a = &into[i];
        const struct figure *b = &from[i];
        switch (kind->columns[i].merging) {
        case MERGE_KEY:
        case MERGE_FIRST:
            break;
        case MERGE_SUM:
            a->number += b->number;
            break;
        case MERGE_MAX:
            lead = b->number - a->number;
            if (lead > 0)
                *a = *b;
            break;
        case MERGE_WITH_MAX:
            if (lead > 0 || (lead == 0 && b->number > a->number))
                *a = *b;
            break;
        }
    }
}

void figures_table_merge(struct figures_table *table) {
    const struct figures_kind *kind = table->kind;
    size_t count = table->row_count, width = kind->column_count;
    if (!kind->merged || count < 2)
        return;
    struct figure *rows = alloc_zeroed(count * width, sizeof *rows);
    size_t at = 0;
    for (size_t i = 0; i < count; i++)
        figures_table_next(table, &at, rows + i * width);
    qsort_r(rows, count, width * sizeof *rows, compare_keys, (void *)kind);
    struct figures_table merged = {.kind = kind};
    for (size_t i = 0; i < count;) {
        struct figure *row = rows + i * width;
        for (i++; i < count && compare_keys(row, rows + i * width, (void *)kind) == 0; i++)
            merge_row(kind, row, rows + i * width);
        figures_table_add(&merged, row);
    }
    free(rows);
    figures_table_close(table);
    *table = merged;
}

/* -- messages ---------------------------------------------------------------------------------- */

void figures_put_description(struct wire_buffer *out, const struct figures_kind *kind,
                             const bool *binary) {
    enum { INT8_OID = 20, TEXT_OID = 25 };
    size_t mark = message_begin(out, 'T');
    message_put_u16(out, (uint16_t)kind->column_count);
    for (size_t i = 0; i < kind->column_count; i++) {
        bool number = kind->columns[i].type == FIGURE_NUMBER;
        message_put_string(out, kind->columns[i].name);
        message_put_u32(out, 0); /* no table, */
        message_put_u16(out, 0); /* hence no column of one */
        message_put_u32(out, number ? INT8_OID : TEXT_OID);
        message_put_u16(out, number ? 8 : UINT16_MAX); /* typlen -1: varies */
        message_put_u32(out, UINT32_MAX);              /* typmod -1: none */
        message_put_u16(out, binary != NULL && binary[i] ? 1 : 0);
    }
    message_end(out, mark);
}

static void put_number(struct wire_buffer *out, int64_t number, bool binary) {
    char text[24];
    if (binary) {
        message_put_u32(out, sizeof number);
        message_put_u32(out, (uint32_t)((uint64_t)number >> 32));
        message_put_u32(out, (uint32_t)number);
        return;
    }
    size_t length = (size_t)snprintf(text, sizeof text, "%lld", (long long)number);
    message_put_u32(out, (uint32_t)length);
    wire_append(out, text, length);
}

void figures_put_row(struct wire_buffer *out, const struct figures_kind *kind,
                     const struct figure *row, const bool *binary) {
    size_t mark = message_begin(out, 'D');
    message_put_u16(out, (uint16_t)kind->column_count);
    for (size_t i = 0; i < kind->column_count; i++) {
        if (!row[i].known) {
            message_put_u32(out, UINT32_MAX);
        } else if (kind->columns[i].type == FIGURE_NUMBER) {
            put_number(out, row[i].number, binary != NULL && binary[i]);
        } else {
            size_t length = strlen(row[i].text);
            message_put_u32(out, (uint32_t)length);
            wire_append(out, row[i].text, length);
        }
    }
    message_end(out, mark);
}
