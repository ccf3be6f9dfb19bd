# SPDX-License-Identifier: LGPL-2.1-or-later
# Completion for fish. qubesdb-cmd itself knows what a word may become.

function __qubesdb_complete
    set -l word (commandline -ct)
    set -l found (qubesdb-cmd --complete (commandline -opc) "$word" 2>/dev/null)
    if test $status -eq 2
        __fish_complete_path "$word"
    else
        printf '%s\n' $found
    end
end

# The daemon's usage has all its options.
complete -c qubesdb-daemon -a '(qubesdb-daemon --help 2>/dev/null | string match -ar -- "--[a-z-]+")'

for name in cmd read write rm list multiread watch read-bool \
    dump restore edit ls count exists wait status trace
    complete -c qubesdb-$name -f -a '(__qubesdb_complete)'
end
