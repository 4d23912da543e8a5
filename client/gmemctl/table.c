/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "gmemctl.h"

struct table {
	size_t n_columns;
	size_t n_cells;
	size_t max_cells;
	char **cells; /* row by row, headings first */
	size_t widths[TABLE_COLUMNS_MAX];
};

/* A command line tool that cannot get some bytes has nothing better to do. */
static void *must(void *memory)
{
	if (!memory) {
		fputs("gmemctl: out of memory\n", stderr);
		abort();
	}
	return memory;
}

struct table *table_new(const char *const *headings, size_t n_columns)
{
	struct table *table = must(calloc(1, sizeof(*table)));

	table->n_columns = n_columns;
	for (size_t i = 0; i < n_columns; i++)
		table_cell(table, "%s", headings[i]);
	return table;
}

void table_cell(struct table *table, const char *format, ...)
{
	size_t column = table->n_cells % table->n_columns;
	char *text = NULL;
	va_list args;
	int n;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	if (n < 0)
		text = NULL;
	must(text);
	if (table->n_cells == table->max_cells) {
		table->max_cells = table->max_cells ? 2 * table->max_cells : 64;
		table->cells = must(realloc(table->cells, table->max_cells * sizeof(char *)));
	}
	table->cells[table->n_cells++] = text;
	if ((size_t)n > table->widths[column])
		table->widths[column] = (size_t)n;
}

void table_print(const struct table *table, FILE *stream)
{
	for (size_t i = 0; i < table->n_cells; i++) {
		size_t column = i % table->n_columns;

		if (column + 1 == table->n_columns)
			fprintf(stream, "%s\n", table->cells[i]);
		else
			fprintf(stream, "%-*s  ", (int)table->widths[column], table->cells[i]);
	}
}

void table_free(struct table *table)
{
	for (size_t i = 0; i < table->n_cells; i++)
		free(table->cells[i]);
	free(table->cells);
	free(table);
}
