/* application/x-www-form-urlencoded: a query, or a body of that type. */
#ifndef LK_WIRE_FORM_H
#define LK_WIRE_FORM_H

#include "base/buf.h"

/*
 * Append the value of the member name, decoded ('+' is a space), to ret, with a NUL behind it that
 * is not counted: lk_buf_text() of ret cannot fail then. LK_ERR_NOT_FOUND when it is absent;
 * LK_ERR_FORMAT when it is there twice, does not decode or holds a NUL; LK_ERR_LIMIT past ret's
 * limit; LK_ERR_NOMEM. Other members are not looked at.
 */
LK_MUST_CHECK enum lk_err lk_form_get(const char *form, size_t len, const char *name,
                                      struct lk_buf *ret);

#endif
