# Counts the words of every file below the folder $1.
find "$1" -type f | sort | while IFS= read -r file; do
  printf '%s: %s\n' "$file" "$(wc -w < "$file" | tr -d ' ')"
done
