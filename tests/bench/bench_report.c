/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t bench_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static struct bench_row *add_row(struct bench_report *report, const char *figure)
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
	*row = (struct bench_row){ .floor = "-", .ratio = "-", .limit = "-", .ok = true };
	snprintf(row->figure, sizeof(row->figure), "%s", figure);
	return row;
}

/* Three figures that mean something, whatever the size of the number. */
static int digits_after_point(double number)
{
	return number < 10 ? 2 : number < 100 ? 1 : 0;
}

static void print_number(char *text, size_t size, double number, const char *unit)
{
	snprintf(text, size, "%.*f %s", digits_after_point(number), number, unit);
}

static void judge(struct bench_row *row, double value, const char *unit, double limit)
{
	if (limit == BENCH_NO_LIMIT)
		return;
	print_number(row->limit, sizeof(row->limit), limit, unit);
	row->ok = value <= limit;
}

int bench_report_ratio(struct bench_report *report, const char *figure, double measured,
		       double floor, const char *unit, double limit)
{
	struct bench_row *row = add_row(report, figure);

	if (!row)
		return -ENOMEM;
	print_number(row->measured, sizeof(row->measured), measured, unit);
	print_number(row->floor, sizeof(row->floor), floor, unit);
	print_number(row->ratio, sizeof(row->ratio), measured / floor, "x");
	judge(row, measured / floor, "x", limit);
	return 0;
}

int bench_report_value(struct bench_report *report, const char *figure, double measured,
		       const char *unit, double limit)
{
	struct bench_row *row = add_row(report, figure);

	if (!row)
		return -ENOMEM;
	print_number(row->measured, sizeof(row->measured), measured, unit);
	judge(row, measured, unit, limit);
	return 0;
}

int bench_report_skip(struct bench_report *report, const char *figure, const char *why)
{
	struct bench_row *row = add_row(report, figure);

	if (!row)
		return -ENOMEM;
	snprintf(row->measured, sizeof(row->measured), "%s", why);
	return 0;
}

static int wider(int width, const char *text)
{
	int length = (int)strlen(text);

	return length > width ? length : width;
}

size_t bench_report_print(const struct bench_report *report, FILE *out)
{
	int figure = wider(0, "figure"), measured = wider(0, "measured"), floor = wider(0, "floor");
	size_t n_over = 0;

	for (size_t i = 0; i < report->n_rows; i++) {
		figure = wider(figure, report->rows[i].figure);
		measured = wider(measured, report->rows[i].measured);
		floor = wider(floor, report->rows[i].floor);
	}
	fprintf(out, "%-*s  %*s  %*s  %9s  %9s\n", figure, "figure", measured, "measured", floor,
		"floor", "ratio", "at most");
	for (size_t i = 0; i < report->n_rows; i++) {
		const struct bench_row *row = &report->rows[i];

		fprintf(out, "%-*s  %*s  %*s  %9s  %9s%s\n", figure, row->figure, measured,
			row->measured, floor, row->floor, row->ratio, row->limit,
			row->ok ? "" : "  OVER");
		n_over += !row->ok;
	}
	return n_over;
}

void bench_report_done(struct bench_report *report)
{
	free(report->rows);
	*report = (struct bench_report){ 0 };
}
