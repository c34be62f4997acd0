#include "residency.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cdef.h"

#define PAGES_AT_ONCE 1024

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* No call answers for a range: msync stops at the first locked mapping. So each page is asked for, 0.2 us. */
static bool all_locked(uintptr_t start, size_t bytes)
{
    for (uintptr_t page = start; page < start + bytes; page += os_page())
        if (!os_is_locked(page))
            return false;
    return true;
}

/* Locked is not yet resident: mlock2(MLOCK_ONFAULT) and a shared mapping cut by its file's truncation are not. Where
   mincore claims every page, a file that we neither own nor may write, mlock's word is enough: it read them in. */
static int all_resident(uintptr_t start, size_t bytes)
{
    unsigned char pages[PAGES_AT_ONCE];
    size_t most = PAGES_AT_ONCE * os_page();
    for (size_t done = 0; done < bytes; done += most) {
        size_t chunk = smaller(bytes - done, most);
        int error = os_resident(start + done, chunk, pages);
        if (error < 0)
            return error;
        for (size_t i = 0; i < chunk / os_page(); i++)
            if (!(pages[i] & 1))
                return 0;
    }
    return 1;
}

int residency_locked(uintptr_t start, size_t bytes)
{
    return all_locked(start, bytes) ? all_resident(start, bytes) : 0;
}

int residency_read(uintptr_t start, size_t bytes, uint8_t *pages)
{
    int error = os_resident(start, bytes, pages);
    if (error < 0)
        return error;
    for (size_t i = 0; i < bytes / os_page(); i++)
        pages[i] &= 1;
    return 0;
}

/* Huge pages by smaps, for kernels that cannot scan. */

struct mapping {
    uintptr_t start, end;
    size_t huge;
};

/* smaps does not say where in a mapping its huge pages are. */
static size_t certainly_huge(const struct mapping *mapping, uintptr_t start, uintptr_t end)
{
    uintptr_t from = mapping->start > start ? mapping->start : start;
    uintptr_t to = mapping->end < end ? mapping->end : end;
    if (from >= to)
        return 0;
    bool within = to - from == mapping->end - mapping->start;
    bool throughout = mapping->huge == mapping->end - mapping->start;
    return within ? mapping->huge : throughout ? to - from : 0;
}

static bool read_header(const char *line, struct mapping *mapping)
{
    uintptr_t start, end;
    if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &start, &end) != 2)
        return false;
    *mapping = (struct mapping){.start = start, .end = end};
    return true;
}

static void read_huge(const char *line, struct mapping *mapping)
{
    static const char *const fields[] = {"AnonHugePages:", "ShmemPmdMapped:", "FilePmdMapped:"};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        size_t kib, name = strlen(fields[i]);
        if (strncmp(line, fields[i], name) == 0 && sscanf(line + name, "%zu", &kib) == 1)
            mapping->huge += kib * 1024;
    }
}

static size_t huge_by_smaps(FILE *smaps, uintptr_t start, uintptr_t end)
{
    char line[512]; /* a longer path continues as a line that is neither header nor field */
    struct mapping mapping = {0};
    size_t huge = 0;
    bool whole_line = true;
    while (fgets(line, sizeof line, smaps) != NULL) {
        struct mapping next;
        if (whole_line && read_header(line, &next)) {
            huge += certainly_huge(&mapping, start, end);
            mapping = next;
        } else if (whole_line) {
            read_huge(line, &mapping);
        }
        whole_line = strchr(line, '\n') != NULL;
    }
    return huge + certainly_huge(&mapping, start, end);
}

int64_t residency_huge_by_smaps(const char *path, uintptr_t start, size_t bytes)
{
    FILE *smaps = fopen(path, "re");
    if (smaps == NULL)
        return -errno;
    size_t huge = huge_by_smaps(smaps, start, start + bytes);
    fclose(smaps);
    return (int64_t)huge;
}

ssize_t residency_huge_bytes(uintptr_t start, size_t bytes)
{
    int64_t huge = os_huge_bytes(start, bytes);
    if (huge < 0)
        huge = residency_huge_by_smaps("/proc/self/smaps", start, bytes);
    return (ssize_t)huge;
}
