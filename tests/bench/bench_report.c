/* SPDX-License-Identifier: Apache-2.0 */
#include "bench_report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct bench_row *add_row(struct bench_report *report, const char *figure, const char *unit)
{
	struct bench_row *row;

	if (report->n_rows == report->max_rows) {
		size_t more = report->max_rows * 2 + 16;

		row = reallocarray(report->rows, more, sizeof(*row));
		if (!row)
			return NULL;
		report->rows = row;
		report->max_rows = more;
	}
	row = &report->rows[report->n_rows++];
	*row = (struct bench_row){ .ok = true };
	(void)snprintf(row->figure, sizeof(row->figure), "%s", figure);
	(void)snprintf(row->unit, sizeof(row->unit), "%s", unit);
	return row;
}

int bench_report_ratio(struct bench_report *report, const char *figure, double measured,
		       double floor, const char *unit, double ratio, double limit)
{
	struct bench_row *row = add_row(report, figure, unit);

	if (!row)
		return -ENOMEM;
	row->measured = measured;
	row->floor = floor;
	row->ratio = ratio;
	row->limit = limit;
	row->ok = limit == BENCH_NO_LIMIT || ratio <= limit;
	return 0;
}

int bench_report_value(struct bench_report *report, const char *figure, double measured,
		       const char *unit, double limit)
{
	struct bench_row *row = add_row(report, figure, unit);

	if (!row)
		return -ENOMEM;
	row->measured = measured;
	row->limit = limit;
	row->ok = limit == BENCH_NO_LIMIT || measured <= limit;
	return 0;
}

int bench_report_skip(struct bench_report *report, const char *figure, const char *why)
{
	struct bench_row *row = add_row(report, figure, "");

	if (!row)
		return -ENOMEM;
	(void)snprintf(row->skipped, sizeof(row->skipped), "%s", why);
	return 0;
}

bool bench_row_is_memory(const struct bench_row *row)
{
	return strcmp(row->unit, "MiB") == 0;
}

void bench_report_decides(struct bench_report *report)
{
	report->rows[report->n_rows - 1].decides = true;
}

size_t bench_report_missed(const struct bench_report *report, size_t first)
{
	size_t n = 0;

	for (size_t i = first; i < report->n_rows; i++)
		n += !report->rows[i].ok;
	return n;
}

/* ---- the table ---- */

#define CELL_MAX 32

struct cells {
	char measured[CELL_MAX];
	char floor[CELL_MAX];
	char ratio[CELL_MAX];
	char limit[CELL_MAX];
};

/* Three figures that mean something, whatever the size of the number; "-": there is none. */
static void print_number(char text[CELL_MAX], double number, const char *unit)
{
	int digits = number < 10 ? 2 : number < 100 ? 1 : 0;

	if (number == 0)
		(void)snprintf(text, CELL_MAX, "-");
	else
		(void)snprintf(text, CELL_MAX, "%.*f %s", digits, number, unit);
}

static void fill_cells(const struct bench_row *row, struct cells *cells)
{
	print_number(cells->measured, row->measured, row->unit);
	print_number(cells->floor, row->floor, row->unit);
	print_number(cells->ratio, row->ratio, "x");
	print_number(cells->limit, row->limit, row->floor != 0 ? "x" : row->unit);
}

static const char *verdict(const struct bench_row *row)
{
	if (row->limit == BENCH_NO_LIMIT)
		return "";
	return row->ok ? "ok" : "MISSED";
}

static int figure_width(const struct bench_report *report)
{
	size_t width = strlen("figure");

	for (size_t i = 0; i < report->n_rows; i++) {
		size_t length = strlen(report->rows[i].figure);

		width = length > width ? length : width;
	}
	return (int)width;
}

void bench_report_print(const struct bench_report *report, FILE *out)
{
	int width = figure_width(report);

	fprintf(out, "%-*s %12s %12s %9s %9s\n", width, "figure", "measured", "floor", "ratio",
		"at most");
	for (size_t i = 0; i < report->n_rows; i++) {
		const struct bench_row *row = &report->rows[i];
		struct cells cells;

		if (row->skipped[0] != '\0') {
			fprintf(out, "%-*s not measured: %s\n", width, row->figure, row->skipped);
			continue;
		}
		fill_cells(row, &cells);
		fprintf(out, "%-*s %12s %12s %9s %9s  %s\n", width, row->figure, cells.measured,
			cells.floor, cells.ratio, cells.limit, verdict(row));
	}
}

/* ---- JSON ---- */

/* What an errno's or a probe's text may hold: anything. */
static void print_json_string(const char *text, FILE *out)
{
	fputc('"', out);
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < ' ')
			fprintf(out, "\\u%04x", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
}

static void print_json_number(const char *name, double number, FILE *out)
{
	if (number != 0)
		fprintf(out, ", \"%s\": %.6g", name, number);
}

static void print_json_row(const struct bench_row *row, FILE *out)
{
	fputs("{\"figure\": ", out);
	print_json_string(row->figure, out);
	if (row->skipped[0] != '\0') {
		fputs(", \"skipped\": ", out);
		print_json_string(row->skipped, out);
	} else {
		fputs(", \"unit\": ", out);
		print_json_string(row->unit, out);
		fprintf(out, ", \"measured\": %.6g", row->measured);
		print_json_number("floor", row->floor, out);
		print_json_number("ratio", row->ratio, out);
		print_json_number("limit", row->limit, out);
		fprintf(out, ", \"ok\": %s", row->ok ? "true" : "false");
	}
	fputc('}', out);
}

void bench_report_print_json(const struct bench_report *report, FILE *out)
{
	fputs("{\"rows\": [", out);
	for (size_t i = 0; i < report->n_rows; i++) {
		fputs(i ? ",\n  " : "\n  ", out);
		print_json_row(&report->rows[i], out);
	}
	fprintf(out, "\n], \"missed\": %zu}\n", bench_report_missed(report, 0));
}

void bench_report_done(struct bench_report *report)
{
	free(report->rows);
	*report = (struct bench_report){ 0 };
}
