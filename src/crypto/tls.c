#include "crypto/tls.h"
