#include "wire/dps.h"
