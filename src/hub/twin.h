/*
 * Twins (iot-hub.md 2.3): tags that only operators see, desired properties that they write and the
 * device reads, reported ones the other way round. Sections are JSON objects without "$" members in
 * the store; versions and times of change are kept beside them.
 */
#ifndef LK_HUB_TWIN_H
#define LK_HUB_TWIN_H

#include "base/json.h"
#include "hub/hub.h"

#define LK_TWIN_TAGS_MAX ((size_t)8 * 1024)     /* bytes of compact JSON, as the next two */
#define LK_TWIN_SECTION_MAX ((size_t)32 * 1024) /* desired, reported */
#define LK_TWIN_DEPTH_MAX 10u
#define LK_TWIN_KEY_MAX 1024u    /* bytes */
#define LK_TWIN_STRING_MAX 4096u /* bytes */

enum lk_twin_section { LK_TWIN_TAGS, LK_TWIN_DESIRED, LK_TWIN_REPORTED };
enum lk_twin_change { LK_TWIN_MERGE, LK_TWIN_REPLACE };

#define LK_TWIN_ERROR_CAP 192u

/*
 * Judge a section, or a patch of one, by the limits above: an object; names of members are not
 * empty and have no control characters, '.', '$' and space; integers within 2^52. Depth counts the
 * objects and arrays inside the section. "$metadata" and "$version" at the top are ignored.
 * LK_ERR_FORMAT, LK_ERR_LIMIT; error names the member, in words that may be shown to the peer.
 */
LK_MUST_CHECK enum lk_err lk_twin_judge(enum lk_twin_section section, const json_t *value,
                                        char error[LK_TWIN_ERROR_CAP]);

/*
 * Change sections in the transaction; NULL: leave alone. A merge removes members that are null (RFC
 * 7396). The version of each section that is given grows by one, as the twin's own does, also when
 * the patch is empty; with no section nothing changes. A change of desired appends the event that
 * pushes it: the patch as it came, or for a replacement the whole new section with a null for each
 * member that is gone, and "$version". The caller appends the audit record: it knows the actor.
 * etag as in store.h. ret (may be NULL) is the twin
 * afterwards, initialised with LK_TWIN_INIT. LK_ERR_NOT_FOUND, LK_ERR_PRECONDITION, and as
 * lk_twin_judge(), with error set.
 */
struct lk_twin_patch {
    const json_t *tags, *desired, *reported;
    enum lk_twin_change how;
};
LK_MUST_CHECK enum lk_err lk_twin_change(struct lk_txn *tx, const char *hub, const char *device_id,
                                         const struct lk_twin_patch *patch, const char *etag,
                                         struct lk_twin *ret, char error[LK_TWIN_ERROR_CAP]);

/*
 * Tags and desired properties that an identity begins with, right after it was made and in the same
 * transaction: versions stay 1 and nothing is pushed. Errors as above.
 */
LK_MUST_CHECK enum lk_err lk_twin_begin(struct lk_txn *tx, const char *hub, const char *device_id,
                                        const struct lk_twin_patch *patch,
                                        char error[LK_TWIN_ERROR_CAP]);

/* "properties" of a twin as operators get it ($metadata and $version in each section), a new
 * reference. */
LK_MUST_CHECK enum lk_err lk_twin_properties(const struct lk_twin *t, json_t **ret);
/* The answer to a device's twin get: {"desired":{..,"$version"},"reported":{..,"$version"}},
 * appended as text. */
LK_MUST_CHECK enum lk_err lk_twin_for_device(const struct lk_twin *t, struct lk_buf *ret);

#endif
