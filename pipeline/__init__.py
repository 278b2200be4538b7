"""From videos to motion-preserved clips, computed once: the method on the ground floor, stages and jobs above."""
