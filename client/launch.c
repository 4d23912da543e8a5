/* SPDX-License-Identifier: Apache-2.0 */
/* Launches, as the program sees them. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client.h"
#include "gm_cleanup.h"
#include "gm_verdict.h"

#define SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)
/* More is no request of the protocol. */
#define PARAMETERS_MAX 16384

static void free_source_slot(struct gmem_source **slot)
{
	gm_source_free(*slot);
}

int gmem_launch_start(gmem_domain *domain, const void *parameters, size_t size)
{
	struct gmem_client *client = domain->client;

	gm_client_clear(client);
	if (size > PARAMETERS_MAX)
		return gm_fail_numbers(client, GMEM_INVALID, GM_RULE_SIZE, "parameters",
				       PARAMETERS_MAX, 0, size);
	return client->provider->launch_start(domain, parameters, size);
}

int gmem_launch_set_vcpu(gmem_domain *domain, uint32_t index, int vcpu_fd)
{
	struct gmem_client *client = domain->client;

	gm_client_clear(client);
	if (fcntl(vcpu_fd, F_GETFD) < 0)
		return gm_fail(client, GMEM_INVALID, GM_RULE_FD,
			       "File descriptor %d is not open (fd).", vcpu_fd);
	/* One is enough to populate by. */
	if (index == 0 || domain->vcpu_fd < 0)
		domain->vcpu_fd = vcpu_fd;
	return 0;
}

/* ---- sources */

struct gmem_source *gm_domain_find_source(const struct gmem_domain *domain,
					  const struct gmem_source *source)
{
	struct gmem_source *found = domain->sources;

	while (found && found != source)
		found = found->next;
	return found;
}

/* Takes @fd. */
static int add_source(struct gmem_domain *domain, int fd, uint64_t size, gmem_source **ret_source)
{
	_gm_cleanup_(free_source_slot) struct gmem_source *source = calloc(1, sizeof(*source));
	struct gmem_client *client = domain->client;
	uint64_t id = domain->id;
	int r;

	if (!source) {
		gm_fd_close(fd);
		return gm_fail_errno(client, ENOMEM, "a handle for a source");
	}
	source->fd = fd;
	source->size = size;
	r = client->provider->source_add(domain, source);
	if (r < 0)
		return r;
	domain = gm_client_find_domain(client, id);
	if (!domain)
		return gm_fail(client, GMEM_NO_SUCH_OBJECT, 0,
			       "The domain was destroyed while it was given a source.");
	source->next = domain->sources;
	domain->sources = source;
	*ret_source = gm_take_ptr(&source);
	return 0;
}

static int write_all(int fd, const uint8_t *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

/* A sealed memfd with @data in it. */
static int make_source(const void *data, size_t size, uint64_t rounded, int *ret_fd)
{
	_gm_close_ int fd = memfd_create("gmem-source", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	if (fd < 0)
		return -errno;
	r = write_all(fd, data, size);
	if (r < 0)
		return r;
	if (ftruncate(fd, (off_t)rounded) < 0 || fcntl(fd, F_ADD_SEALS, SEALS | F_SEAL_SEAL) < 0)
		return -errno;
	*ret_fd = gm_take_fd(&fd);
	return 0;
}

static int fail_source(struct gmem_client *client, const char *what)
{
	return gm_fail(client, GMEM_INVALID, GM_RULE_SOURCE, "%s (source).", what);
}

int gmem_source_create(gmem_domain *domain, const void *data, size_t size, gmem_source **ret_source)
{
	struct gmem_client *client = domain->client;
	uint64_t rounded;
	int fd = -1;
	int r;

	gm_client_clear(client);
	if (size == 0 || gm_add_overflows(size, GM_PAGE_4K - 1, &rounded))
		return fail_source(client, "There is nothing in the source");
	rounded = gm_align_down(rounded, GM_PAGE_4K);
	r = make_source(data, size, rounded, &fd);
	if (r < 0)
		return gm_fail_errno(client, r, "making a source");
	return add_source(domain, fd, rounded, ret_source);
}

int gmem_source_from_fd(gmem_domain *domain, int fd, gmem_source **ret_source)
{
	struct gmem_client *client = domain->client;
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;
	int copy;

	gm_client_clear(client);
	if (seals < 0 || fstat(fd, &st) < 0)
		return fail_source(client, "A source is a memfd with seals");
	if ((seals & SEALS) != SEALS)
		return fail_source(client, "A source is sealed against writing, shrinking and "
					   "growing");
	if (st.st_size <= 0 || !gm_is_aligned((uint64_t)st.st_size, GM_PAGE_4K))
		return fail_source(client, "A source is made of whole pages");
	copy = gm_fd_dup(fd);
	if (copy < 0)
		return gm_fail_errno(client, copy, "a file descriptor for a source");
	return add_source(domain, copy, (uint64_t)st.st_size, ret_source);
}

/* [@offset, @offset + @length) of it; the program may have named one of another domain. */
static int check_source(const struct gmem_domain *domain, const struct gmem_source *source,
			uint64_t offset, uint64_t length)
{
	struct gmem_client *client = domain->client;

	if (!gm_domain_find_source(domain, source))
		return fail_source(client, "The source is not one of this domain");
	if (!gm_is_aligned(offset, GM_PAGE_4K) || offset >= source->size ||
	    length > source->size - offset)
		return gm_fail_numbers(client, GMEM_INVALID, GM_RULE_SOURCE, "the source",
				       source->size, offset, length);
	return 0;
}

/* ---- population */

static bool has_source(enum gmem_page_type type)
{
	return type != GMEM_PAGE_TYPE_ZERO && type != GMEM_PAGE_TYPE_SECRETS;
}

/* Makes @what complete. */
static int complete(const struct gmem_region *region, struct gmem_population *what)
{
	const struct gmem_domain *domain = region->domain;
	struct gmem_client *client = domain->client;
	bool may_lack = false;

	if (!what->type)
		what->type = GMEM_PAGE_TYPE_NORMAL;
	if ((unsigned)what->type > GMEM_PAGE_TYPE_CPUID)
		return gm_fail(client, GMEM_INVALID, GM_RULE_FLAGS,
			       "There is no page type %u (flags).", (unsigned)what->type);
	/* Of memory that is converted in place the page itself may be the source. */
	if (region->in_place && what->type == GMEM_PAGE_TYPE_NORMAL && !what->source)
		may_lack = true;
	if (has_source(what->type) != !!what->source && !may_lack)
		return fail_source(client, what->source ? "Pages of this type have no source"
							: "Pages of this type have a source");
	if (what->source) {
		int r = check_source(domain, what->source, what->source_offset, what->length);

		if (r < 0)
			return r;
		if (what->length == 0)
			what->length = what->source->size - what->source_offset;
	}
	if (what->length == 0 || !gm_is_aligned(what->length, GM_PAGE_4K))
		return gm_fail(client, GMEM_INVALID, GM_RULE_SIZE,
			       "Guests are populated by whole pages (size).");
	return 0;
}

int gmem_region_populate(gmem_region *region, const struct gmem_population *what)
{
	struct gmem_client *client = region->domain->client;
	struct gmem_population all = *what;
	int r;

	gm_client_clear(client);
	r = complete(region, &all);
	return r < 0 ? r : client->provider->region_populate(region, &all);
}

/* ---- end */

static int check_end(const struct gmem_domain *domain, const struct gmem_launch_end *end)
{
	const struct gmem_vcpus *vcpus = &end->vcpus;
	struct gmem_client *client = domain->client;
	uint64_t length;

	if (!end->id_block != !end->id_auth)
		return gm_fail(client, GMEM_INVALID, GM_RULE_REQUIRE_ID_BLOCK,
			       "An ID block and its authentication come together.");
	if (vcpus->how != GMEM_VCPUS_PAGES)
		return 0;
	if (!vcpus->source || gm_mul_overflows(vcpus->count, GM_PAGE_4K, &length))
		return fail_source(client, "The pages of the vCPUs are in a source");
	return check_source(domain, vcpus->source, vcpus->source_offset, length);
}

int gmem_launch_finish(gmem_domain *domain, const struct gmem_launch_end *end)
{
	static const struct gmem_launch_end defaults;
	struct gmem_client *client = domain->client;
	int r;

	gm_client_clear(client);
	if (!end)
		end = &defaults;
	r = check_end(domain, end);
	return r < 0 ? r : client->provider->launch_finish(domain, end);
}

int gmem_launch_abort(gmem_domain *domain)
{
	struct gmem_client *client = domain->client;

	gm_client_clear(client);
	return client->provider->launch_abort(domain);
}
