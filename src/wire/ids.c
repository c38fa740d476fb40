#include "wire/ids.h"
