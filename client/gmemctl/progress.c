/* SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "gmemctl.h"

#define BAR_WIDTH 40

int progress_update(void *progress, uint64_t done, uint64_t total)
{
	struct progress *bar = progress;
	char done_text[CTL_SIZE_TEXT], total_text[CTL_SIZE_TEXT];
	int filled = total ? (int)((double)done / (double)total * BAR_WIDTH) : BAR_WIDTH;

	if (!isatty(STDERR_FILENO))
		return 0;
	bar->shown = true;
	fprintf(stderr, "\r%s [%.*s%.*s] %s of %s \033[K", bar->what, filled,
		"########################################", BAR_WIDTH - filled,
		"........................................", ctl_size_text(done, done_text),
		ctl_size_text(total, total_text));
	(void)fflush(stderr);
	return 0;
}

void progress_end(struct progress *progress)
{
	if (progress->shown)
		fputs("\r\033[K", stderr);
	progress->shown = false;
}
