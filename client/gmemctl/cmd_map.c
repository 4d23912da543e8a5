/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page map as a picture: each cell stands for an equal share of the region and shows the
 * state that most of its pages are in; lost pages always show, however few.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "gmemctl.h"

#define N_STATES (GMEM_PAGE_LOST + 1)
#define ROWS_MAX 16
#define PAGE_BYTES 4096u

static const struct state_style {
	char letter;
	const char *color;
} styles[N_STATES] = {
	[GMEM_PAGE_ABSENT] = { '.', "\033[90m" },     [GMEM_PAGE_SHARED] = { 'S', "\033[32m" },
	[GMEM_PAGE_PRIVATE] = { 'P', "\033[34m" },    [GMEM_PAGE_MEASURED] = { 'M', "\033[35m" },
	[GMEM_PAGE_UNMEASURED] = { 'U', "\033[33m" }, [GMEM_PAGE_LOST] = { 'X', "\033[31m" },
};

struct picture {
	uint64_t cell_bytes;
	uint64_t n_cells;
	uint64_t (*cells)[N_STATES]; /* bytes of each state in each cell */
	uint64_t totals[N_STATES];
	json_object *runs;
};

static int add_run(void *arg, const struct gmem_page_run *run)
{
	struct picture *picture = arg;
	json_object *tree = json_object_new_object();
	uint64_t offset = run->offset, end = run->offset + run->length;
	int state = run->state >= 0 && run->state < N_STATES ? run->state : GMEM_PAGE_LOST;

	json_object_object_add(tree, "offset", json_object_new_uint64(run->offset));
	json_object_object_add(tree, "length", json_object_new_uint64(run->length));
	json_object_object_add(tree, "state", json_object_new_string(gmem_page_state_name(state)));
	picture->totals[state] += run->length;
	while (picture->cells && offset < end) {
		uint64_t cell = offset / picture->cell_bytes;
		uint64_t cell_end = (cell + 1) * picture->cell_bytes;
		uint64_t piece = (cell_end < end ? cell_end : end) - offset;

		if (cell < picture->n_cells)
			picture->cells[cell][state] += piece;
		offset += piece;
	}
	return json_object_array_add(picture->runs, tree);
}

static int state_of_cell(const uint64_t bytes[N_STATES])
{
	int most = GMEM_PAGE_ABSENT;

	if (bytes[GMEM_PAGE_LOST] > 0)
		return GMEM_PAGE_LOST;
	for (int state = 0; state < N_STATES; state++)
		if (bytes[state] > bytes[most])
			most = state;
	return most;
}

static uint64_t terminal_columns(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col < 40)
		return 64;
	return size.ws_col - 20u;
}

static void print_rows(const struct picture *picture, uint64_t columns, bool color)
{
	for (uint64_t i = 0; i < picture->n_cells; i++) {
		const struct state_style *style = &styles[state_of_cell(picture->cells[i])];

		if (i % columns == 0)
			printf("%s%#14" PRIx64 "  ", i ? "\n" : "", i * picture->cell_bytes);
		if (color)
			printf("%s%c\033[0m", style->color, style->letter);
		else
			putchar(style->letter);
	}
	putchar('\n');
}

static void print_picture(const struct picture *picture, uint64_t columns, bool color)
{
	char text[CTL_SIZE_TEXT];

	print_rows(picture, columns, color);
	printf("one cell: %s;", ctl_size_text(picture->cell_bytes, text));
	for (int state = 0; state < N_STATES; state++) {
		if (picture->totals[state] == 0)
			continue;
		printf("  %s%c%s %s %s", color ? styles[state].color : "", styles[state].letter,
		       color ? "\033[0m" : "", gmem_page_state_name(state),
		       ctl_size_text(picture->totals[state], text));
	}
	putchar('\n');
}

static int picture_init(struct picture *picture, uint64_t size, uint64_t columns)
{
	uint64_t pages = size / PAGE_BYTES;
	uint64_t cells_max = columns * ROWS_MAX;
	uint64_t pages_per_cell = (pages + cells_max - 1) / cells_max;

	picture->cell_bytes = pages_per_cell * PAGE_BYTES;
	picture->n_cells = (size + picture->cell_bytes - 1) / picture->cell_bytes;
	picture->cells = calloc(picture->n_cells, sizeof(picture->cells[0]));
	return picture->cells ? 0 : -1;
}

static int draw(struct ctl *ctl, uint64_t id)
{
	uint64_t columns = terminal_columns();
	struct picture picture = { 0 };
	struct gmem_region_info info;
	int r = CTL_OK;

	if (gmem_get_region(ctl->client, id, &info) < 0)
		return ctl_fail(ctl, "map");
	if (!ctl->json && picture_init(&picture, info.size, columns) < 0)
		return ctl_complain(ctl, CTL_FAILED, "out of memory");
	picture.runs = json_object_new_array();
	if (gmem_get_page_map(ctl->client, id, add_run, &picture) < 0)
		r = ctl_fail(ctl, "map");
	else if (ctl->json)
		r = ctl_print_json(picture.runs);
	else
		print_picture(&picture, columns, ctl->color);
	json_object_put(picture.runs);
	free(picture.cells);
	return r;
}

static int show_help(void)
{
	puts("gmemctl map REGION\n\n"
	     "Draws the page map: . absent, S shared, P private, M measured, U unmeasured, X "
	     "lost.\n"
	     "With --json: the runs of pages in one state.");
	return CTL_OK;
}

int cmd_map(struct ctl *ctl, int argc, char **argv)
{
	static const struct option longs[] = { { "help", no_argument, NULL, 'h' },
					       { NULL, 0, NULL, 0 } };
	uint64_t id;
	int option;

	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1)
		return option == 'h' ? show_help() : CTL_USAGE;
	if (argc - optind != 1 || parse_id(argv[optind], &id) < 0)
		return ctl_complain(ctl, CTL_USAGE, "map takes a region's id, 1 to 16 hex digits");
	return draw(ctl, id);
}
