# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034 # these are for those who source this
#
# Reads bench/plan. Sourced by commands/bench, after lab.sh.
#
# find_kernels          sets kernels, and the sets that depend on the patch that thaws
# read_plan FILE MODE   sets what follows; dies with "FILE:LINE: reason" at what it cannot read
#   minutes, most       how long to measure; the most rounds of a job
#   jobs                the jobs to run, in the plan's order (BENCH_JOBS, BENCH_LEVELS)
#   flavour, on, cpus, mem, rounds, commands   of each job; "on" are its kernels
#   known               all jobs that BENCH_JOBS may name
#   left_out            patches of bench/ that do not apply on this base

# A thawing patch has "-thaw-" in its name.
find_kernels() {
	local names commits i id last='' thawed=''
	mapfile -t names < <(levels | cut -d' ' -f1)
	mapfile -t commits < <(levels | cut -d' ' -f2)
	kernels=() to_thaw='' from_thaw=base
	for i in "${!names[@]}"; do
		# Patches that do not change the kernel are no kernels.
		id=$(source_id "${commits[i]}")
		[ "$id" != "$last" ] || continue
		last=$id
		kernels+=("${names[i]}")
		if [ -n "$thawed" ]; then
			from_thaw+=" ${kernels[-1]}"
		else
			to_thaw+=" ${kernels[-1]}"
		fi
		[[ ${names[i]} != *-thaw-* ]] || thawed=1
	done
	tip=${kernels[-1]}
	[[ " $to_thaw " = *" $tip "* ]] || to_thaw+=" $tip"
}

# commit_of KERNEL
commit_of() {
	local line
	line=$(find_level "$1" "$(levels)")
	echo "${line#* }"
}

# takes KERNEL PATCH: does bench/PATCH.patch apply to KERNEL? Asks git once.
declare -A taken
takes() {
	local key=$1+$2
	if [ -z "${taken[$key]:-}" ]; then
		taken[$key]=no
		! with_patches "$(commit_of "$1")" "$2" || taken[$key]=yes
	fi
	[ "${taken[$key]}" = yes ]
}

leave_out() {
	[[ " $left_out " = *" $1 "* ]] || left_out+=" $1"
}

# expand KERNELS: sets "expanded". Returns 1 if a kernel is missing.
expand() {
	local word k found part result='' parts
	IFS=, read -ra parts <<<"$1"
	for word in "${parts[@]}"; do
		found=
		case $word in
		base | tip) found=${word/tip/$tip} ;;
		every) found=${kernels[*]} ;;
		to-thaw) found=$to_thaw ;;
		from-thaw) found=$from_thaw ;;
		'*+'*)
			for k in "${kernels[@]}"; do
				! takes "$k" "${word#*+}" || found=$k+${word#*+}
			done
			[ -n "$found" ] || leave_out "${word#*+}"
			;;
		base+* | tip+*)
			part=${word%%/*}
			k=${part%%+*}
			k=${k/tip/$tip}
			if takes "$k" "${part#*+}"; then
				found=$k+${part#*+}
			elif [ "$word" != "$part" ]; then
				expand "${word#*/}" || return 1
				found=$expanded
			else
				leave_out "${part#*+}"
				return 1
			fi
			;;
		*)
			[ -n "${plan_set[$word]+set}" ] || plan_die "no kernel or set '$word'"
			found=${plan_set[$word]}
			;;
		esac
		result+=" $found"
	done
	read -ra parts <<<"$result"
	expanded=${parts[*]}
}

plan_die() {
	die "$plan_at: $*"
}

# fill TEXT: sets "filled", the TEXT with values and commands in place of {NAME}.
fill() {
	local name
	filled=$1
	while [[ $filled =~ \{([a-z][a-z0-9-]*)\} ]]; do
		name=${BASH_REMATCH[1]}
		[ -n "${plan_value[$name]+set}" ] || plan_die "no value or command '{$name}'"
		filled=${filled//"{$name}"/"${plan_value[$name]}"}
	done
}

# The lines of each section, as words; the column of the mode is $plan_column.
plan_values() {
	[ $# = 4 ] || plan_die "a value has 4 columns, this one $#"
	local n=${*:plan_column+1:1}
	[[ $n =~ ^[1-9][0-9]*$ ]] || plan_die "'$n' is no number"
	plan_value[$1]=$n
}

plan_commands() {
	[[ ${2:-} = = && $# -gt 2 ]] || plan_die "not 'NAME = COMMAND'"
	fill "${*:3}"
	plan_value[$1]=$filled
}

plan_kernels() {
	[ $# = 4 ] || plan_die "a set of kernels has 4 columns, this one $#"
	expand "${*:plan_column+1:1}" || plan_die "a set cannot have a kernel that may be missing"
	plan_set[$1]=$expanded
}

# A job with no rounds in this mode stays out; "job" is then empty.
plan_jobs() {
	[ $# = 8 ] || plan_die "a job has 8 columns, this one $#"
	local n=${*:plan_column+5:1} k w levels=
	[[ $2 =~ ^(lean|lockstat)$ ]] || plan_die "no flavour '$2'"
	[[ $4 =~ ^[1-8]$ ]] || plan_die "not 1 to 8 CPUs: '$4'"
	[[ $5 =~ ^[1-9][0-9]*[GM]$ ]] || plan_die "memory '$5' is not like 2G"
	[[ $n =~ ^(-|[1-9][0-9]*(/older)?)$ ]] || plan_die "rounds '$n' are not like 2, 2/older or -"
	[ -z "${plan_seen[$1]:-}" ] || plan_die "there is a job '$1' already"
	plan_seen[$1]=$plan_at
	job=
	case $n/$BASE in -/* | */older/mainline) return 0 ;; esac
	expand "$3" || return 0
	known+=" $1"
	for k in $expanded; do
		[ -n "${BENCH_LEVELS:-}" ] || levels+=" $k"
		for w in ${BENCH_LEVELS:-}; do
			if [[ ${k%%+*} = "$w" || $w != base && ${k%%+*} = *"$w"* ]]; then levels+=" $k"; fi
		done
	done
	[ -n "$levels" ] || return 0
	[ -z "${BENCH_JOBS:-}" ] || [[ " $BENCH_JOBS " = *" $1 "* ]] || return 0
	job=$1
	jobs+=("$1")
	flavour[$1]=$2 on[$1]=${levels# } cpus[$1]=$4 mem[$1]=$5 rounds[$1]=${n%/older} commands[$1]=
}

# A line of a job's commands, perhaps with modes before it.
plan_command() {
	local text=$1 modes=
	if [[ $text =~ ^((smoke|default|full)(,(smoke|default|full))*):\ (.*) ]]; then
		modes=,${BASH_REMATCH[1]},
		text=${BASH_REMATCH[5]}
	fi
	fill "$text"
	[ -n "$job" ] || return 0
	[[ -z $modes || $modes = *",$plan_mode,"* ]] || return 0
	commands[$job]+=$filled$'\n'
}

read_plan() {
	local line section='' n=0 words
	plan_mode=$2
	case $2 in
	smoke) plan_column=1 ;;
	default) plan_column=2 ;;
	full) plan_column=3 ;;
	*) die "no mode '$2' in the plan" ;;
	esac
	jobs=() known='' left_out='' job=''
	declare -gA plan_value=() plan_set=() plan_seen=()
	declare -gA flavour=() on=() cpus=() mem=() rounds=() commands=()
	while IFS= read -r line; do
		n=$((n + 1))
		plan_at=$1:$n
		[[ $line =~ ^[[:blank:]]*(#|$) ]] && continue
		if [[ $line =~ ^\[([a-z]+)\]$ ]]; then
			section=${BASH_REMATCH[1]}
			[[ $section =~ ^(values|commands|kernels|jobs)$ ]] || plan_die "no section '$section'"
			continue
		fi
		if [[ $line = [[:blank:]]* ]]; then
			[[ $section = jobs && ${#plan_seen[@]} -gt 0 ]] || plan_die "a command without a job"
			plan_command "${line#"${line%%[![:blank:]]*}"}"
			continue
		fi
		[ -n "$section" ] || plan_die "a line before the first [section]"
		[ "$section" = commands ] || line=${line%%#*}
		read -ra words <<<"$line"
		"plan_$section" "${words[@]}"
	done <"$1"
	check_plan "$1"
}

# What can be wrong with the plan as a whole.
check_plan() {
	local j
	minutes=${plan_value[minutes]:-} most=${plan_value[most-rounds]:-}
	[[ -n $minutes && -n $most ]] || die "$1: no value 'minutes' or 'most-rounds'"
	for j in "${jobs[@]}"; do
		[ -n "${commands[$j]}" ] || die "${plan_seen[$j]}: job '$j' has no command in mode $plan_mode"
	done
	for j in ${BENCH_JOBS:-}; do
		[[ " $known " = *" $j "* ]] || die "no job '$j' in BENCH_JOBS for $BASE; there are:$known"
	done
	[ ${#jobs[@]} -gt 0 ] || die "no job of the plan runs on BENCH_LEVELS='${BENCH_LEVELS:-}'"
}
