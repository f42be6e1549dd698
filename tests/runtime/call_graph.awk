# Reads `objdump -d --no-show-raw-insn` and prints what the functions whose names match `roots` can come to:
#   reaches FUNCTION
#   calls FUNCTION FUNCTION@plt   of another object
#   indirect FUNCTION             calls through a pointer
/^[0-9a-f]+ <.*>:$/ {
  name = substr($2, 2, length($2) - 3)
  next
}
name != "" && $2 ~ /^(call|j[a-z]+|bnd|notrack)$/ {
  if ($0 ~ /call +\*/) indirect[name] = 1
  if (match($0, /<[^>]*>/) == 0) next
  target = substr($0, RSTART + 1, RLENGTH - 2)
  sub(/\+0x[0-9a-f]+$/, "", target)
  if (target != name) edges[name] = edges[name] " " target
}
END {
  for (each in edges) {
    if (each ~ roots) queue[count++] = each
  }
  for (i = 0; i < count; ++i) seen[queue[i]] = 1
  for (i = 0; i < count; ++i) {
    at = queue[i]
    print "reaches", at
    if (at in indirect) print "indirect", at
    n = split(edges[at], targets, " ")
    for (k = 1; k <= n; ++k) {
      if (targets[k] ~ /@plt$/) {
        print "calls", at, targets[k]
      } else if (!(targets[k] in seen)) {
        seen[targets[k]] = 1
        queue[count++] = targets[k]
      }
    }
  }
}
