import Files
import Testing

import Ranks
