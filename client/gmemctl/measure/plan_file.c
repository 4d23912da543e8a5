/* SPDX-License-Identifier: Apache-2.0 */
#include "plan_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gm_cleanup.h"
#include "manifest_json.h"

#define HEX_SIZE (2 * GM_DIGEST_MAX + 1)

/* Registers are a vCPU's, whatever the platform calls their page. */
static const char *type_name(enum gm_launch_page type)
{
	return type == GM_LAUNCH_VMSA ? "vcpu" : gm_launch_page_name(type);
}

static bool has_addresses(const struct gm_manifest *manifest)
{
	return manifest->kind == GM_LAUNCH_SNP || manifest->kind == GM_LAUNCH_TDX;
}

static void write_row(FILE *file, const struct gm_manifest *manifest,
		      const struct gm_manifest_row *row)
{
	char hex[2 * GM_SHA384_SIZE + 1];

	fputs(type_name(row->type), file);
	if (has_addresses(manifest))
		fprintf(file, " 0x%" PRIx64, row->gpa);
	else
		fputs(" -", file);
	if (row->n_pages == 0)
		fprintf(file, " *%" PRIu64, (row->length + GM_PAGE_4K - 1) / GM_PAGE_4K);
	for (size_t i = 0; i < row->n_pages; i++) {
		manifest_hex(row->pages[i], GM_SHA384_SIZE, hex);
		fprintf(file, " %.16s", hex);
	}
	fputc('\n', file);
}

static int write_all(FILE *file, const struct gm_manifest *manifest, const char *digest)
{
	fprintf(file, "gmemd-plan 1 %s %s\n", gm_launch_kind_name(manifest->kind), digest);
	for (size_t i = 0; i < manifest->n_rows; i++)
		write_row(file, manifest, &manifest->rows[i]);
	return fflush(file) == 0 && !ferror(file) && fchmod(fileno(file), 0644) == 0 ? 0 : -EIO;
}

int plan_file_write(const char *folder, const struct gm_manifest *manifest)
{
	_gm_free_ char *draft = NULL, *path = NULL;
	char digest[HEX_SIZE];
	FILE *file;
	int fd, r;

	manifest_hex(manifest->digest, gm_launch_digest_size(manifest->kind), digest);
	if (asprintf(&path, "%s/%s", folder, digest) < 0 ||
	    asprintf(&draft, "%s/.plan.XXXXXX", folder) < 0)
		return -ENOMEM;
	fd = mkstemp(draft);
	if (fd < 0)
		return -errno;
	file = fdopen(fd, "w");
	r = file ? write_all(file, manifest, digest) : -errno;
	if (file)
		(void)fclose(file);
	else
		(void)close(fd);
	if (r == 0 && rename(draft, path) < 0)
		r = -errno;
	if (r < 0)
		(void)unlink(draft);
	return r;
}
