# The job of array.yml: the squares of a tenth of a hundred numbers each.
first=$((JOBFERRY_INDEX * 10))
for step in 0 1 2 3 4 5 6 7 8 9; do
  number=$((first + step))
  echo "$number $((number * number))"
done > "part.$JOBFERRY_INDEX.txt"
