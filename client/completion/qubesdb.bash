# SPDX-License-Identifier: LGPL-2.1-or-later
# Completion for bash. qubesdb-cmd itself knows what a word may become.

_qubesdb() {
	local word words=() rest=$COMP_LINE candidates status=0 i

	# Bash also ends words at ':', '@' and '=': put together what no blank separates.
	for ((i = 0; i <= COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if ((i > 0)) && [[ $rest != [[:blank:]]* ]]; then
			words[-1]+=$word
		else
			words+=("$word")
			rest=${rest#"${rest%%[![:blank:]]*}"}
		fi
		rest=${rest#"$word"}
	done

	COMPREPLY=()
	candidates=$(qubesdb-cmd --complete "${words[@]}" 2>/dev/null) || status=$?
	if ((status == 2)); then
		compopt -o default 2>/dev/null
		return
	fi
	[[ $candidates ]] || return 0
	mapfile -t COMPREPLY <<<"$candidates"
	[[ ${COMPREPLY[0]} != */ ]] || compopt -o nospace 2>/dev/null

	# And it replaces only what follows the last of these characters.
	word=${words[-1]}
	word=${word%"${word##*[$COMP_WORDBREAKS]}"}
	COMPREPLY=("${COMPREPLY[@]#"$word"}")
}

# The daemon's usage has all its options.
_qubesdb_daemon() {
	local options=$(qubesdb-daemon --help 2>/dev/null | grep -o -e '--[a-z-]*')

	mapfile -t COMPREPLY < <(compgen -W "$options" -- "$2")
}

complete -o default -F _qubesdb_daemon qubesdb-daemon
complete -F _qubesdb qubesdb-{cmd,read,write,rm,list,multiread,watch,read-bool} \
	qubesdb-{dump,restore,edit,ls,count,exists,wait,status,trace}
